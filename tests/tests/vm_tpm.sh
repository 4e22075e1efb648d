export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
cp /share/rkt /tmp/rkt
rkt() { /tmp/rkt --dir=/tmp/data --insecure-options=image "$@"; }
busybox=$(rkt fetch --full /share/busybox.aci) || exit 1
n=0; until [ -e /dev/tpmrm0 ] || [ $n -ge 100 ]; do n=$((n + 1)); sleep 0.1; done
ls -l /dev/tpm*
# What the kernel has, as rkt prints it.
values() { for file in /sys/class/tpm/tpm0/pcr-*/15; do bank=${file%/15}; echo "pcr15-${bank##*pcr-}=$(cat $file)"; done | sort; }

echo == pods
rkt run --net=none $busybox --exec=/bin/true
echo first $?
uuid=$(rkt prepare --quiet $busybox --exec=/bin/true)
# One that is killed while it starts leaves log and register in step, or the next puts them there.
timeout --signal=KILL 0.2 /tmp/rkt --dir=/tmp/data run-prepared --net=none $uuid
uuid=$(rkt prepare --quiet $busybox --exec=/bin/true)
rkt run-prepared --net=none $uuid
echo second $?
rkt run --net=none $busybox --exec=/bin/true
echo other $?

echo == kernel
values

echo == log
rkt measurements

echo == refused
mkdir -p /tmp/busy
mv /tmp/data/measurements /tmp/busy
echo nonsense > /tmp/data/measurements
rkt run --net=none $busybox --exec=/bin/true
echo status $?
rm /tmp/data/measurements

# Another data directory has another log, which goes on from what is there.
echo == other
busybox=$(/tmp/rkt --dir=/tmp/other --insecure-options=image fetch --full /share/busybox.aci)
/tmp/rkt --dir=/tmp/other run --net=none $busybox --exec=/bin/true
/tmp/rkt --dir=/tmp/other measurements

echo == kernel then
values

# Without the firmware's tables the machine cannot be turned off.
echo 0 > /share/status
sync
reboot -ff
