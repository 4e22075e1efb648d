
RKT='/tmp/rkt --dir=/tmp/data --insecure-options=image'
listening=$(rkt fetch --full /share/listening.aci) || exit 1
notify=$(rkt fetch --full /share/notify.aci) || exit 1

echo == status
systemd-run --quiet --wait --pipe $RKT run --net=none $busybox --exec=/bin/sh -- -c 'exit 7'
echo status $?

echo == service
systemd-run --quiet --unit=pod --slice=machine --service-type=notify --property=KillMode=mixed \
    --remain-after-exit \
    $RKT run --net=none --uuid-file-save=/tmp/uuid $busybox --name=busybox --exec=/bin/sh -- \
    -c 'trap "exit 0" TERM; echo hello from the pod; while :; do sleep 0.1; done'
systemctl is-active pod
uuid=$(cat /tmp/uuid)
grep ^0:: /proc/$(systemctl show --value --property=MainPID pod)/cgroup
cat /tmp/data/pods/run/$uuid/subcgroup; echo
machinectl list --no-legend --no-pager

echo == journal
await 'journalctl -M rkt-$uuid -o cat 2>/dev/null | grep -q hello'
journalctl -M rkt-$uuid -o cat | sed 's/^/by machine: /'
id=$(echo $uuid | tr -d -)
journalctl -m _MACHINE_ID=$id -o cat | sed 's/^/merged: /'

echo == stopped
systemctl stop pod
systemctl is-active pod
echo machines $(machinectl list --no-legend --no-pager | wc -l)
rkt status $uuid

echo == finished
journalctl -m _MACHINE_ID=$id -o cat | sed 's/^/merged: /'

echo == command line
rkt run --net=none --uuid-file-save=/tmp/uuid2 $busybox --exec=/bin/sleep -- 1000 &
await test -s /tmp/uuid2
rkt status --wait-ready=60s $(cat /tmp/uuid2) | grep ^state
cat /tmp/data/pods/run/$(cat /tmp/uuid2)/subcgroup; echo
machinectl poweroff rkt-$(cat /tmp/uuid2)
wait
rkt status $(cat /tmp/uuid2) | grep ^app-

echo == notify
systemd-run --quiet --no-block --unit=slow --service-type=notify \
    $RKT run --net=none --uuid-file-save=/tmp/uuid3 $notify --exec=/bin/sh -- \
    -c 'until [ -e /go ]; do sleep 0.1; done; /probe notify READY=1; exec sleep 1000'
await test -s /tmp/uuid3
await 'rkt enter $(cat /tmp/uuid3) /bin/true 2>/dev/null'
echo before $(systemctl is-active slow)
rkt status --wait-ready=1s $(cat /tmp/uuid3) 2>&1
rkt enter $(cat /tmp/uuid3) /bin/touch /go
await 'systemctl is-active --quiet slow'
echo after $(systemctl is-active slow)
rkt status --wait-ready=60s $(cat /tmp/uuid3) >/dev/null && echo ready
systemctl stop slow

echo == sockets
printf '[Socket]\nListenStream=127.0.0.1:7777\n' > /run/systemd/system/echo.socket
printf '[Service]\nExecStart=%s\n' \
    "$RKT run --net=none --port=echo:7777 $listening --exec=/probe -- passed" \
    > /run/systemd/system/echo.service
systemctl daemon-reload
systemctl start echo.socket
systemctl is-active echo.service
bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777; cat <&3'
systemctl is-active echo.service
systemctl stop echo.socket echo.service

echo == failure
systemd-run --quiet --unit=failing --property=Restart=no $RKT run --net=none $busybox --exec=/bin/false
await 'systemctl is-failed --quiet failing'
systemctl is-failed failing
systemctl show --property=Result failing

echo == clock
rkt run --net=none --uuid-file-save=/tmp/uuid4 $busybox --exec=/bin/sh -- \
    -c 'for n in 1 2 3; do until [ -e /go$n ]; do sleep 0.1; done; echo line $n; done; exec sleep 1000' &
await test -s /tmp/uuid4
uuid=$(cat /tmp/uuid4)
rkt status --wait-ready=60s $uuid >/dev/null
now=$(date +%s)
for n in 1 2 3; do
    rkt enter $uuid /bin/touch /go$n
    await "rkt logs --format=cat $uuid | grep -q 'line $n'"
    # Back by a day, then on by a year.
    [ $n = 1 ] && date -s @$((now - 86400)) >/dev/null
    [ $n = 2 ] && date -s @$((now + 31536000)) >/dev/null
done
echo ours $(rkt logs --format=cat $uuid | tr '\n' ,)
rkt stop $uuid
wait
date -s @$now >/dev/null
echo finished $(rkt logs --format=cat $uuid | tr '\n' ,)
dir=$(dirname $(find /tmp/data/pods -path "*$uuid*" -name '*.journal' | head -n1))
echo theirs $(journalctl --directory=$dir -o cat | grep line | tr '\n' ,)
for file in $dir/*.journal; do journalctl --verify --file=$file 2>&1 | grep -q PASS && echo verified; done

echo == left
rkt gc --grace-period=0s >/dev/null
rkt gc --grace-period=0s >/dev/null
echo pods $(rkt list --no-legend | wc -l)
echo links $(find /var/log/journal -type l | wc -l)
echo machines $(machinectl list --no-legend --no-pager | wc -l)
echo scopes $(systemctl list-units --no-legend --no-pager 'machine-rkt*' | wc -l)
