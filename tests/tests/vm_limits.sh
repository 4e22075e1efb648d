echo == memory
rkt run --net=none $probe --memory=64M --exec=/probe -- alloc 8000000
echo first $?
rkt run --net=none $probe --memory=16M --exec=/probe -- alloc 200000000
echo second $?

echo == pod
rkt run --net=none --uuid-file-save=/tmp/uuid $busybox --name=app --memory=64M --cpu=200m --cpu-shares=512 \
    --exec=/bin/sleep -- 1000 &
await test -s /tmp/uuid
rkt status --wait-ready=60s $(cat /tmp/uuid) | grep ^state
for file in memory.max memory.swap.max cpu.max cpu.weight; do
    echo $file $(cat $(find /sys/fs/cgroup -name app -type d)/$file)
done
find /sys/fs/cgroup -path '*rkt*' -type d
cat /proc/pressure/cpu
rkt stats --format=json $(cat /tmp/uuid) | grep -o '"[a-z]*_pressure":[0-9]'
rkt stop $(cat /tmp/uuid)
wait

echo == isolators
cat > /tmp/pod.json <<END
{"acVersion": "0.8.11", "acKind": "PodManifest",
 "apps": [{"name": "limited", "image": {"id": "$busybox"}, "app": {
  "exec": ["/bin/sleep", "1000"], "user": "0", "group": "0", "isolators": [
   {"name": "resource/memory", "value": {"request": "8M", "limit": "64M"}},
   {"name": "resource/block-bandwidth", "value": {"default": true, "limit": "1M"}},
   {"name": "resource/block-iops", "value": {"default": true, "limit": "77"}}]}}],
 "isolators": [{"name": "resource/memory", "value": {"limit": "128M"}}]}
END
rm /tmp/uuid
rkt run --net=none --uuid-file-save=/tmp/uuid --pod-manifest=/tmp/pod.json &
await test -s /tmp/uuid
rkt status --wait-ready=60s $(cat /tmp/uuid) | grep ^state
app=$(find /sys/fs/cgroup -name limited -type d)
for file in memory.low memory.high io.max; do echo $file $(cat $app/$file); done
for file in memory.max pids.max; do echo pod $file $(cat $app/../$file); done
rkt stop $(cat /tmp/uuid)
wait

echo == high
# $1: the exec of an app that says it can live with 8M of its 64M.
between() {
    cat > /tmp/pod.json <<END
{"acVersion": "0.8.11", "acKind": "PodManifest",
 "apps": [{"name": "between", "image": {"id": "$1"}, "app": {
  "exec": $2, "user": "0", "group": "0", "isolators": [
   {"name": "resource/memory", "value": {"request": "8M", "limit": "64M"}}]}}]}
END
    rkt run --net=none --uuid-file-save=/tmp/uuid --pod-manifest=/tmp/pod.json
}
rm /tmp/uuid
between $busybox '["/bin/sh", "-c", "head -c 62700000 /dev/zero > /dev/shm/x; echo grown; sleep 1000"]' > /tmp/grown &
await grep -q grown /tmp/grown && sed 's/.*: //' /tmp/grown
grep -E '^(high|oom_kill) ' $(find /sys/fs/cgroup -name between -type d)/memory.events
rkt stop --force $(cat /tmp/uuid)
wait
# Slowed down, but not for ever.
start=$(date +%s)
between $probe '["/probe", "alloc", "200000000"]'
echo hog $? $(($(date +%s) - start < 60))

echo == namespace
rkt run --net=none $busybox --exec=/bin/sh -- -c 'grep ^0:: /proc/self/cgroup' | sed 's/.*: //'

echo == devices
rkt run --net=none $busybox --exec=/bin/sh -- -c \
    'mknod /tmp/disk b 254 0 && ! head -c 1 /tmp/disk; mknod /tmp/null c 1 3 && echo x > /tmp/null && echo open' 2>&1

echo == ids
rkt run --private-users --net=none $busybox --memory=64M --exec=/bin/sh -- -c \
    'id -u; stat -c %u /bin/busybox; echo x > /new && stat -c own%u /new; sed s/^/map/ /proc/self/uid_map; grep ^0:: /proc/self/cgroup' 2>&1 | sed 's/.*: //'
rkt run --private-users --net=none $probe --memory=16M --exec=/probe -- alloc 200000000
echo third $?

echo == delegated
group=/sys/fs/cgroup/ours
mkdir /tmp/ours $group
chown 1000:1000 /tmp/ours
as_user() { setpriv --reuid=1000 --regid=1000 --clear-groups /tmp/rkt --dir=/tmp/ours --insecure-options=image "$@"; }
# In a cgroup that was given to the user, and holds nobody else.
delegated() {
    mkdir $group/$1
    chown 1000:1000 $group/$1 $group/$1/cgroup.procs $group/$1/cgroup.threads $group/$1/cgroup.subtree_control
    (sh -c "echo \$PPID > $group/$1/cgroup.procs"; shift; exec setpriv --reuid=1000 --regid=1000 --clear-groups \
        /tmp/rkt --dir=/tmp/ours --insecure-options=image "$@") 2>&1
}
for controller in $(cat $group/cgroup.controllers); do echo +$controller > $group/cgroup.subtree_control; done
user_probe=$(as_user fetch --full /share/probe.aci)
delegated one run --net=none $user_probe --memory=64M --exec=/probe -- alloc 8000000
echo small $?
delegated two run --net=none $user_probe --memory=16M --exec=/probe -- alloc 200000000
echo large $?
as_user gc --grace-period=0s; as_user gc --grace-period=0s
echo theirs $(find $group -name 'machine-rkt-*' -type d | wc -l)
find $group -depth -type d -exec rmdir {} +

echo == left
rkt gc --grace-period=0s
rkt gc --grace-period=0s
echo pods $(rkt list --no-legend | wc -l)
echo cgroups $(find /sys/fs/cgroup -name '*rkt*' -type d | wc -l)
