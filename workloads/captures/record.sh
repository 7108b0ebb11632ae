#!/bin/bash
# Record veth-mixed.pcap anew: real programs talk over a veth pair between two network namespaces while
# tcpdump listens at the client's end. Needs root and the Debian packages
#   tcpdump iproute2 ethtool iputils-ping nginx-light curl redis-server redis-tools dnsmasq-base dnsutils chrony
# Usage: record.sh [OUTPUT]. It leaves nothing behind but OUTPUT: namespaces, servers and files are its own.
set -euo pipefail

output=$(realpath "${1:-$(dirname "$0")/veth-mixed.pcap}")
client=vfbench-client-$$
server=vfbench-server-$$
scratch=$(mktemp -d)
servers=()

finish() {
    ((${#servers[@]})) && kill "${servers[@]}" 2>/dev/null || true
    wait || true
    ip netns del "$client" 2>/dev/null || true
    ip netns del "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

serve() { ip netns exec "$server" "$@" >/dev/null 2>&1 & servers+=($!); }

# --- the wire: documentation addresses, made-up MACs, no offload, so that a frame is what a wire would carry
ip netns add "$client"
ip netns add "$server"
ip link add port netns "$client" address 02:00:00:00:00:02 mtu 1500 type veth \
    peer name port netns "$server" address 02:00:00:00:00:01
configure() { # namespace, last digit of its addresses
    ip -n "$1" link set lo up
    ip -n "$1" link set port up
    ip -n "$1" address add "192.0.2.$2/24" dev port
    ip -n "$1" address add "2001:db8::$2/64" dev port nodad
    ip netns exec "$1" ethtool -K port tso off gso off gro off tx off sg off >/dev/null
}
configure "$client" 2
configure "$server" 1

# --- the servers
mkdir -p "$scratch/www/small" "$scratch/tftp"
chmod -R a+rwX "$scratch"
head -c 1500000 /dev/zero >"$scratch/www/bulk"
head -c 60000 /dev/zero >"$scratch/tftp/image"
for i in $(seq 1 60); do head -c $((100 * i)) /dev/zero >"$scratch/www/small/$i"; done
chmod -R a+rwX "$scratch"
cat >"$scratch/nginx.conf" <<NGINX
daemon off; pid $scratch/nginx.pid; error_log /dev/null; user root;
events {}
http {
    access_log off; client_body_temp_path $scratch/body; server_tokens off;
    server { listen 192.0.2.1:80; listen [2001:db8::1]:80; root $scratch/www; dav_methods PUT; client_max_body_size 8m; }
}
NGINX
cat >"$scratch/chrony.conf" <<CHRONY
local stratum 10
allow all
cmdport 0
bindcmdaddress /
pidfile $scratch/chronyd.pid
CHRONY
serve nginx -c "$scratch/nginx.conf"
serve redis-server --bind 192.0.2.1 --port 6379 --save "" --appendonly no --protected-mode no --dir "$scratch"
serve dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=192.0.2.1 --bind-interfaces \
    --pid-file= --user=root --address=/example.test/192.0.2.1 --address=/example.test/2001:db8::1 \
    --txt-record=text.example.test,"$(printf 'x%.0s' {1..200})" --enable-tftp --tftp-root="$scratch/tftp"
serve chronyd -d -x -f "$scratch/chrony.conf" # -x: it never touches the clock
sleep 2

# --- the recording
ip netns exec "$client" tcpdump -i port -Z root --time-stamp-precision=nano -s 96 -B 65536 \
    -w "$scratch/capture.pcap" 2>"$scratch/tcpdump.log" &
listener=$!
sleep 1

for i in $(seq 1 120); do printf 'h%d.example.test A\nh%d.example.test AAAA\n' "$i" "$i"; done >"$scratch/names"
for _ in $(seq 1 20); do echo 'text.example.test TXT'; done >>"$scratch/names"
talkers=()
talk() { ip netns exec "$client" "$@" >/dev/null 2>&1 & talkers+=($!); }
talk ping -i 0.02 -c 50 192.0.2.1
talk ping -i 0.03 -c 30 -s 1000 2001:db8::1
talk dig @192.0.2.1 +tries=1 +timeout=1 -f "$scratch/names"
talk redis-benchmark -h 192.0.2.1 -t set,get -n 400 -c 6 -d 200 -r 1000
talk chronyd -Q -t 4 -f /dev/null "server 192.0.2.1 iburst maxsamples 4" # -Q: asks, never sets
talk curl -s -o /dev/null tftp://192.0.2.1/image
sleep 0.2
talk curl -s "http://192.0.2.1/small/[1-60]"
talk curl -s "http://[2001:db8::1]/small/[1-30]"
sleep 0.2
talk curl -s -o /dev/null http://192.0.2.1/bulk
sleep 0.2
talk curl -s -T "$scratch/www/small/60" "http://192.0.2.1/upload-[1-10]"
talk curl -s -o /dev/null --limit-rate 4M http://192.0.2.1/bulk
sleep 0.2
talk curl -s -o /dev/null "http://[2001:db8::1]/bulk"
for talker in "${talkers[@]}"; do wait "$talker" || true; done

sleep 0.5
kill "$listener"
wait "$listener" || true
grep -E 'captured|dropped' "$scratch/tcpdump.log" >&2
cp "$scratch/capture.pcap" "$output"
