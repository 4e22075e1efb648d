label() { tr -d '\0' < /proc/$1/attr/current; echo; }
# The host's pid of the sleep of pod $1.
app_of() { cat /proc/$(cat /tmp/data/pods/run/$1/pid)/task/*/children | tr ' ' '\n' | head -1; }
marks='echo root $(grep -c "^[^ ]* / .*context=" /proc/mounts) pts $(grep -c "/dev/pts .*context=" /proc/mounts)'
own='tr -d "\0" < /proc/self/attr/current; echo'

echo == off
rkt run --net=none $busybox --exec=/bin/sh -- -c 'echo marked $(grep -c context= /proc/mounts)'
echo files $(find /tmp/data/pods -name 'selinux*' | wc -l)

echo == policy
mkdir -p /etc/selinux/test/contexts
echo SELINUXTYPE=test > /etc/selinux/config
mountpoint -q /sys/fs/selinux || mount -t selinuxfs selinuxfs /sys/fs/selinux
dd if=/share/policy of=/sys/fs/selinux/load bs=1M 2>/dev/null || exit 1
echo 1 > /sys/fs/selinux/enforce
cat /sys/fs/selinux/enforce; echo
label self

# A policy without contexts for containers is as none.
echo == without contexts
rkt run --net=none $busybox --exec=/bin/sh -- -c "$own"
cat > /etc/selinux/test/contexts/lxc_contexts <<END
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:container_file_t:s0"
file = "system_u:object_r:container_file_t:s0"
END

echo == unknown
sed -i.good s/container_file_t/nobody_t/ /etc/selinux/test/contexts/lxc_contexts
rkt run --net=none $busybox --exec=/bin/true 2>&1
mv /etc/selinux/test/contexts/lxc_contexts.good /etc/selinux/test/contexts/lxc_contexts

echo == one
pod() {
    rkt run --net=none --uuid-file-save=/tmp/$1 --volume=data,kind=empty \
        $busybox --mount=volume=data,target=/data --exec=/bin/sh -- \
        -c "$own; echo secret > /data/secret; echo x > /new; echo ready; exec sleep 1000" > /tmp/$1.log 2>&1 &
}
pod one
await grep -q ready /tmp/one.log
one=$(cat /tmp/one)
sed 's/.*: //' /tmp/one.log
label $(app_of $one)
level=$(label $(app_of $one) | cut -d: -f4-)
echo level $level
volume=$(ls -d /tmp/data/pods/run/$one/sharedVolumes/*)
for file in $volume $volume/secret; do stat -c 'label %C' $file; done
for place in / /dev /dev/pts /dev/shm; do
    awk -v place=$place '$5 == place { print place, $0 }' /proc/$(app_of $one)/mountinfo |
        grep -c "context=\"*system_u:object_r:container_file_t:$level" | sed "s|^|mounted $place |"
done

echo == two
pod two
await grep -q ready /tmp/two.log
two=$(cat /tmp/two)
sed 's/.*: //' /tmp/two.log
[ "$(label $(app_of $one))" = "$(label $(app_of $two))" ] || echo different
echo levels $(ls /tmp/data/pods/selinux-levels | wc -l)

# The secret of the first pod is the first pod's, even where another has its directory.
echo == others
try='cat /other/secret; echo x > /other/mine && echo written'
other() { rkt run --net=none --volume=other,kind=host,source=$volume $busybox \
    --mount=volume=other,target=/other --exec=/bin/sh -- -c "$try" 2>&1; }
other
echo == permissive
echo 0 > /sys/fs/selinux/enforce
other
echo 1 > /sys/fs/selinux/enforce

echo == host
echo readable > /tmp/plain
rkt run --net=none --volume=host,kind=host,source=/tmp $busybox --mount=volume=host,target=/host \
    --exec=/bin/sh -- -c 'cat /host/plain; echo x >> /host/plain && echo written' 2>&1

echo == entered
# Into a pipe: to the host's files the policy lets no app write.
rkt enter $one /bin/sh -c "$own; cat /data/secret" </dev/null | cat
echo == privileged
rkt enter --privileged $one /bin/sh -c "$own" </dev/null

# The log's socket is the pod's own to send to.
echo == log
rkt run --net=none --uuid-file-save=/tmp/uuid $busybox --exec=/bin/sh -- -c 'logger sent to the log'
rkt logs $(cat /tmp/uuid)

echo == isolator
# With a type and level of the app, and of the pod.
context() {
    test -z "$1" || cat <<END
{"name": "os/linux/selinux-context", "value": {
 "user": "system_u", "role": "system_r", "type": "$1", "level": "$2"}}
END
}
isolator() {
    cat > /tmp/pod.json <<END
{"acVersion": "0.8.11", "acKind": "PodManifest",
 "apps": [{"name": "labelled", "image": {"id": "$busybox"}, "app": {
  "exec": ["/bin/sh", "-c", "tr -d '\\\\0' < /proc/self/attr/current; echo"],
  "user": "0", "group": "0", "isolators": [$(context "$@")]}}],
 "isolators": [$(context $3 $4)]}
END
    rkt run --net=none --strict-isolators --uuid-file-save=/tmp/uuid --pod-manifest=/tmp/pod.json 2>&1
    echo status $?
}
isolator free_t s0:c7
rkt status --format=json $(cat /tmp/uuid)
echo == unknown isolator
isolator nobody_t s0
echo == isolator of the pod
isolator "" "" free_t s0:c9
rkt status --format=json $(cat /tmp/uuid)
cat /tmp/data/pods/*/$(cat /tmp/uuid)/selinux-prepared
echo == both isolators
isolator free_t s0:c8 free_t s0:c9
echo == unknown isolator of the pod
isolator "" "" nobody_t s0

echo == copied
rkt run --net=none --no-overlay --uuid-file-save=/tmp/uuid $busybox --exec=/bin/sh -- -c "$own; echo x > /new && echo written"
echo == ids
rkt run --net=none --private-users $busybox --exec=/bin/sh -- -c "$own; echo x > /new && echo written; $marks"
# From a disk: the kernel shows no files in memory under other ids.
echo == mapped
/tmp/rkt --dir=/var/tmp/data --insecure-options=image run --net=none --private-users /share/busybox.aci \
    --exec=/bin/sh -- -c "$own; echo x > /new && echo written; $marks" 2>&1

echo == prepared
prepared=$(rkt prepare --quiet $busybox --exec=/bin/sh -- -c "$own")
cat /tmp/data/pods/prepared/$prepared/selinux-prepared
rkt run-prepared --net=none $prepared

echo == added
rm -f /tmp/uuid
rkt app sandbox --net=none --uuid-file-save=/tmp/uuid > /tmp/sandbox.log 2>&1 &
await test -s /tmp/uuid
rkt status --wait-ready=60s $(cat /tmp/uuid) | grep ^state
rkt app add $(cat /tmp/uuid) $busybox --name=late --exec=/bin/sh -- -c "$own"
rkt app start --app=late $(cat /tmp/uuid)
await grep -q container_t /tmp/sandbox.log
cat /tmp/sandbox.log

echo == left
rkt stop --force $(cat /tmp/uuid) $one $two
wait
rkt gc --grace-period=0s
rkt gc --grace-period=0s
echo pods $(rkt list --no-legend | wc -l)
echo levels $(ls /tmp/data/pods/selinux-levels | wc -l)
