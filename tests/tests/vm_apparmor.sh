echo == module
cat /sys/module/apparmor/parameters/enabled
cat > /tmp/profile <<END
profile rkt-test flags=(attach_disconnected,mediate_deleted) {
    file,
    capability,
    network,
    signal,
    ptrace,
    deny /denied/** w,
    deny network inet stream,
}
END
apparmor_parser --replace /tmp/profile || exit 1

manifest() {
    cat > /tmp/pod.json <<END
{"acVersion": "0.8.11", "acKind": "PodManifest",
 "apps": [{"name": "confined", "image": {"id": "$busybox"}, "app": {
  "exec": ["/bin/sh", "-c", "$2"], "user": "$3", "group": "$3", "isolators": [
   {"name": "os/linux/apparmor-profile", "value": {"profile": "$1"}}$4]}}]}
END
}
run() { rkt run --net=none --uuid-file-save=/tmp/uuid --pod-manifest=/tmp/pod.json "$@" 2>&1; }

echo == confined
try='mkdir -p /denied; echo x > /denied/file && echo written || echo refused; echo x > /allowed && echo allowed; cat /proc/self/attr/current'
manifest rkt-test "$try" 0
run --strict-isolators
echo status $?
rkt status --format=json $(cat /tmp/uuid)

echo == free
rkt run --net=none $busybox --exec=/bin/sh -- -c "$try"

echo == privileges
manifest rkt-test "$try" 1000 ', {"name": "os/linux/no-new-privileges", "value": true}'
run

echo == ids
manifest rkt-test "$try" 0
run --private-users

echo == unknown
manifest no-such-profile 'echo ran' 0
run
echo status $?

echo == entered
manifest rkt-test 'sleep 1000' 0
rm /tmp/uuid
run &
await test -s /tmp/uuid
rkt status --wait-ready=60s $(cat /tmp/uuid) | grep ^state
rkt enter $(cat /tmp/uuid) /bin/sh -c "$try" </dev/null
echo == privileged
rkt enter --privileged $(cat /tmp/uuid) /bin/cat /proc/self/attr/current </dev/null
echo == end
rkt stop --force $(cat /tmp/uuid)
wait
