mkdir -p /etc/rkt/net.d /usr/lib/cni
cp /share/cni-* /usr/lib/cni/
for plugin in /usr/lib/cni/cni-*; do mv $plugin /usr/lib/cni/${plugin##*/cni-}; done
ln -s /usr/lib/cni/ipvlan /etc/rkt/net.d/their-ipvlan
signal=$(rkt fetch --full /share/signal.aci) || exit 1
ip netns add far
ip link add up0 type veth peer name far0 netns far
ip addr add 192.0.2.2/24 dev up0
ip link set up0 up
ip -n far addr add 192.0.2.1/24 dev far0
ip -n far link set far0 up
ip -n far link set lo up

# NAME TYPE-FIELDS RANGE-FIELDS
network() {
    echo "{\"cniVersion\":\"1.0.0\",\"name\":\"$1\",$2,\"ipam\":{\"type\":\"host-local\",$3}}" \
        > /etc/rkt/net.d/10-$1.conf
}
# NAME NETWORK: a pod that serves; its address and process.
serve() {
    rkt run --uuid-file-save=/tmp/$1 --net=$2 $probe --name=app --exec=/probe -- serve 8000 >/dev/null 2>/tmp/$1.err &
    await test -s /tmp/$1
    rkt status --wait-ready=60s $(cat /tmp/$1) > /tmp/$1.status || cat /tmp/$1.err
    address=$(rkt list --full --no-legend | grep $(cat /tmp/$1) | sed 's/.*ip4=\([0-9.]*\).*/\1/')
    pid=$(sed -n 's/^pid=//p' /tmp/$1.status)
}
ask() { echo "exec 3<>/dev/tcp/$1/8000 && head -c 4 <&3"; }
from_far() { echo "far: $(ip netns exec far timeout 20 bash -c "$(ask $1)")"; }
from_pod() {
    echo "pod: $(rkt run --net=$2 $busybox --exec=/bin/sh -- -c "nc -w 20 $1 8000 </dev/null" 2>&1)"
}
end() { rkt stop $(cat /tmp/$1) >/dev/null; }

for mode in l2 l3 l3s; do
    echo == $mode
    case $mode in
    l2) range='"subnet":"192.0.2.0/24","rangeStart":"192.0.2.50","gateway":"192.0.2.1"' ;;
    *) range='"subnet":"10.60.0.0/24","routes":[{"dst":"0.0.0.0/0"}]' ;;
    esac
    network $mode "\"type\":\"ipvlan\",\"master\":\"up0\",\"mode\":\"$mode\",\"mtu\":1400" "$range"
    ip -n far route replace 10.60.0.0/24 via 192.0.2.2
    serve $mode $mode
    echo address $address
    nsenter -n -t $pid ip -d link show eth0 | grep -o 'mtu 1400\|ipvlan *mode [a-z0-9]*'
    from_far $address
    from_pod $address $mode
    end $mode
    wait
done

echo == master
network gone '"type":"ipvlan","master":"gone0"' '"subnet":"10.61.0.0/24"'
rkt run --net=gone $busybox --exec=/bin/true 2>&1

echo == theirs
network theirs '"type":"their-ipvlan","master":"up0"' '"subnet":"192.0.2.0/24","rangeStart":"192.0.2.80","gateway":"192.0.2.1"'
serve theirs theirs
echo address $address
from_far $address
end theirs
wait
network tagged '"type":"vlan","master":"up0","vlanId":5' '"subnet":"10.62.0.0/24"'
rkt run --net=tagged $busybox --exec=/bin/sh -- -c 'cat /proc/net/vlan/eth0; ip -o addr show eth0' 2>&1
cat > /etc/rkt/net.d/10-routed.conflist <<END
{"cniVersion":"1.0.0","name":"routed","plugins":[
  {"type":"ptp","ipam":{"type":"host-local","subnet":"10.63.0.0/24"}},{"type":"vrf","vrfname":"blue"}]}
END
rkt run --net=routed $busybox --exec=/bin/sh -- -c 'ip link show eth0' 2>&1

echo == for others
ip netns add container
plugin() {
    echo "{\"cniVersion\":\"1.0.0\",\"name\":\"others\",\"type\":\"ipvlan\",\"master\":\"up0\",\"ipam\":{\"type\":\"static\",
        \"addresses\":[{\"address\":\"192.0.2.90/24\"}]}${2:+,\"prevResult\":$2}}" |
        CNI_COMMAND=$1 CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/container CNI_IFNAME=eth7 CNI_PATH=/usr/lib/cni /tmp/rkt net-plugin ipvlan
}
result=$(plugin ADD)
echo "$result"
plugin CHECK "$result" && echo checked
ip netns exec container /share/probe serve 8000 >/dev/null &
server=$!
await "ip netns exec container ss -ltn | grep -q :8000"
from_far 192.0.2.90
kill $server
wait
plugin DEL && plugin DEL && ip -n container -o link | grep -c eth7

echo == vlans
for network in 'red 10' 'blue 20'; do
    set -- $network
    network $1 "\"type\":\"bridge\",\"bridge\":\"rktv\",\"promiscMode\":true,\"vlan\":$2" "\"subnet\":\"10.64.0.0/24\",\"rangeStart\":\"10.64.0.$2\""
done
serve red red
bridge vlan show
ip -d link show rktv | grep -o 'promiscuity [1-9]\|vlan_filtering 1'
from_pod $address red
rkt run --net=blue $busybox --exec=/bin/sh -- -c "nc -w 3 $address 8000 </dev/null || echo nobody" 2>&1
end red
wait

echo == sctp
rkt run --uuid-file-save=/tmp/signal --net=default --port=sig:3868 $signal --name=app --exec=/probe -- sleep >/dev/null 2>&1 &
await test -s /tmp/signal
rkt status --wait-ready=60s $(cat /tmp/signal) > /tmp/signal.status
cat > /tmp/sctp.pl <<'END'
use Socket;
my ($what, $address, $port) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 132) or die "socket: $!";
my $to = sockaddr_in($port, inet_aton($address));
if ($what eq "serve") {
    bind($s, $to) or die "bind: $!";
    listen($s, 4) or die "listen: $!";
    accept(my $c, $s) or die "accept: $!";
    syswrite($c, "pong"); close($c);
} else {
    connect($s, $to) or die "connect: $!";
    sysread($s, my $word, 4); print "sctp: $word\n";
}
END
pid=$(sed -n 's/^pid=//p' /tmp/signal.status)
timeout 60 nsenter -n -t $pid perl /tmp/sctp.pl serve 0.0.0.0 38 &
server=$!
await "nsenter -n -t $pid cat /proc/net/sctp/eps | grep -q ' 38 '"
timeout 30 ip netns exec far perl /tmp/sctp.pl ask 192.0.2.2 3868
kill $server 2>/dev/null
perl /tmp/sctp.pl serve 0.0.0.0 3868 2>&1 | head -n 1
end signal
wait

echo == left
rkt gc --grace-period=0s >/dev/null
rkt gc --grace-period=0s >/dev/null
echo pods $(rkt list --no-legend | wc -l)
echo links $(ip -o link | grep -c ': veth\|rktv')
echo rules $(nft list ruleset | grep -c rkt)
echo leases $(find /var/lib/cni/networks -name '*.*.*.*' | wc -l)
