#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The local services of the packet engine, as another implementation of the protocols sees them (scapy).

usage: local_services_test.py PROGRAM: a build of local_services_program.cpp
"""
import subprocess
import sys

try:
    from scapy.config import conf
    conf.ipv6_enabled = False  # no look at the interfaces of this machine
    from scapy.all import (ARP, BOOTP, DHCP, IP, UDP, ICMP, Ether, Raw, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                           ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptRDNSS, ICMPv6NDOptSrcLLAddr, IPv6)
    from scapy.layers import dhcp6
except ImportError:
    print("skip: python3-scapy is not installed")
    sys.exit(77)

GATEWAY, MACHINE = "02:00:00:00:00:fe", "02:00:00:00:00:0a"
LINK, V4, V6 = "fe80::a", "10.1.2.3", "2001:db8::3"
ALL = "ff:ff:ff:ff:ff:ff"


class Gateway:
    """The program as a function from frame to frame."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, packet, to=GATEWAY):
        self.process.stdin.write(bytes(Ether(src=MACHINE, dst=to) / packet).hex() + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().strip()
        assert line, "the program ended"
        if line.startswith("none"):
            return None
        return check_sums(bytes.fromhex(line))


def check_sums(frame):
    """scapy, asked to fill in every length and checksum anew, comes to the same bytes."""
    packet = Ether(frame)
    again = packet.copy()
    for layer in (IP, IPv6, UDP, ICMP, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6EchoReply):
        if layer in again:
            for field in ("len", "plen", "chksum", "cksum"):
                if field in again[layer].fields:
                    delattr(again[layer], field)
    assert bytes(again) == frame, f"{bytes(again).hex()} from scapy, not {frame.hex()}"
    assert packet.src == GATEWAY
    return packet


def same(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


def arp(gateway):
    got = gateway.ask(ARP(hwsrc=MACHINE, psrc=V4, pdst="169.254.0.1"), ALL)
    same((got.dst, got[ARP].op, got[ARP].hwsrc, got[ARP].psrc, got[ARP].pdst), (MACHINE, 2, GATEWAY, "169.254.0.1", V4))
    same(gateway.ask(ARP(hwsrc=MACHINE, psrc="0.0.0.0", pdst=V4), ALL), None)


def neighbor_discovery(gateway):
    got = gateway.ask(IPv6(src=LINK, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="fe80::1") / ICMPv6NDOptSrcLLAddr(lladdr=MACHINE))
    na = got[ICMPv6ND_NA]
    same((got[IPv6].dst, na.R, na.S, na.O, na.tgt, na[ICMPv6NDOptDstLLAddr].lladdr), (LINK, 1, 1, 1, "fe80::1", GATEWAY))
    got = gateway.ask(IPv6(src="::", dst="ff02::2", hlim=255) / ICMPv6ND_RS())
    ra = got[ICMPv6ND_RA]
    same((got.dst, got[IPv6].dst, ra.M, ra.O, ra.routerlifetime), ("33:33:00:00:00:01", "ff02::1", 1, 1, 65535))
    same((ra[ICMPv6NDOptSrcLLAddr].lladdr, ra[ICMPv6NDOptMTU].mtu), (GATEWAY, 1450))
    same(ra[ICMPv6NDOptRDNSS].dns, ["2001:db8::53"])


def ping(gateway):
    got = gateway.ask(IP(src=V4, dst="169.254.0.1") / ICMP(id=7, seq=9) / Raw(b"hello"))
    same((got[IP].dst, got[ICMP].type, got[ICMP].id, got[ICMP].seq, got[Raw].load), (V4, 0, 7, 9, b"hello"))
    got = gateway.ask(IPv6(src=V6, dst="fe80::1") / ICMPv6EchoRequest(id=7, seq=9, data=b"hello"))
    same((got[IPv6].dst, got[ICMPv6EchoReply].id, got[ICMPv6EchoReply].data), (V6, 7, b"hello"))
    same(gateway.ask(IP(src=V4, dst="169.254.0.1") / ICMP(chksum=1)), None)


def dhcpv4_options(packet):
    return {option[0]: option[1] if len(option) == 2 else list(option[1:]) for option in packet[DHCP].options if isinstance(option, tuple)}


def dhcpv4(gateway):
    def say(*options, **fields):
        chaddr = bytes.fromhex(MACHINE.replace(":", ""))
        return (IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(chaddr=chaddr, xid=0x1234, **fields) /
                DHCP(options=[*options, "end"]))

    got = gateway.ask(say(("message-type", "discover"), ("param_req_list", [1, 3, 6, 121])), ALL)
    options = dhcpv4_options(got)
    same((got.dst, got[IP].dst, got[BOOTP].yiaddr, got[BOOTP].xid), (MACHINE, V4, V4, 0x1234))
    same((options["message-type"], options["server_id"], options["lease_time"]), (2, "169.254.0.1", 0xffffffff))
    same((options["subnet_mask"], options["interface-mtu"], options["name_server"]), ("255.255.255.255", 1450, ["10.0.0.53", "10.0.0.54"]))
    same(options["classless_static_routes"], ["169.254.0.0/16:0.0.0.0", "0.0.0.0/0:169.254.0.1"])
    same((options["hostname"], "router" in options), (b"web-1", False))

    got = gateway.ask(say(("message-type", "request"), ("requested_addr", V4), ("server_id", "169.254.0.1"),
                          ("vendor_class_id", b"PXEClient:Arch:00007:UNDI:003016"), flags="B"), ALL)
    options = dhcpv4_options(got)
    same((got.dst, got[IP].dst, got[BOOTP].yiaddr, options["message-type"]), (ALL, "255.255.255.255", V4, 5))
    same((got[BOOTP].siaddr, got[BOOTP].file.rstrip(b"\0"), options["router"]), ("10.0.0.9", b"ipxe/x86_64/ipxe.new", "169.254.0.1"))

    got = gateway.ask(say(("message-type", "discover"), (77, b"iPXE")), ALL)
    same(got[BOOTP].file.rstrip(b"\0"), b"http://10.0.0.9/boot")
    got = gateway.ask(say(("message-type", "request"), ("requested_addr", "10.1.2.4")), ALL)
    same((got[IP].dst, dhcpv4_options(got)["message-type"], got[BOOTP].yiaddr), ("255.255.255.255", 6, "0.0.0.0"))


def dhcpv6(gateway):
    client = dhcp6.DHCP6OptClientId(duid=dhcp6.DUID_LL(lladdr=MACHINE))

    def say(message, *options):
        packet = IPv6(src=LINK, dst="ff02::1:2") / UDP(sport=546, dport=547) / message(trid=0x123456) / client
        for option in options:
            packet = packet / option
        return packet

    def lease(packet):
        ia = packet[dhcp6.DHCP6OptIA_NA]
        address = ia.ianaopts[0]
        return ia.iaid, ia.T1, address.addr, address.preflft, address.validlft

    for_ever = 0xffffffff
    got = gateway.ask(say(dhcp6.DHCP6_Solicit, dhcp6.DHCP6OptIA_NA(iaid=7)))
    same((got[IPv6].dst, got[UDP].dport, got[dhcp6.DHCP6_Advertise].trid), (LINK, 546, 0x123456))
    same(lease(got), (7, for_ever, V6, for_ever, for_ever))
    same(got[dhcp6.DHCP6OptDNSServers].dnsservers, ["2001:db8::53"])
    same(got[dhcp6.DHCP6OptClientId].duid.lladdr, MACHINE)
    server = got[dhcp6.DHCP6OptServerId].copy()
    server.remove_payload()

    got = gateway.ask(say(dhcp6.DHCP6_Solicit, dhcp6.DHCP6OptRapidCommit(), dhcp6.DHCP6OptIA_NA(iaid=7)))
    assert dhcp6.DHCP6_Reply in got and dhcp6.DHCP6OptRapidCommit in got
    wanted = dhcp6.DHCP6OptIA_NA(iaid=8, ianaopts=[dhcp6.DHCP6OptIAAddress(addr=V6)])
    got = gateway.ask(say(dhcp6.DHCP6_Request, server, wanted, dhcp6.DHCP6OptUserClass(userclassdata=[dhcp6.USER_CLASS_DATA(data=b"iPXE")])))
    same(lease(got), (8, for_ever, V6, for_ever, for_ever))
    assert b"http://[2001:db8:0:0:0:0:0:9]/boot" in bytes(got)
    got = gateway.ask(say(dhcp6.DHCP6_Renew, server, wanted))
    same(lease(got), (8, for_ever, V6, for_ever, for_ever))
    got = gateway.ask(say(dhcp6.DHCP6_Confirm, wanted))
    same(got[dhcp6.DHCP6OptStatusCode].statuscode, 0)
    elsewhere = dhcp6.DHCP6OptIA_NA(iaid=8, ianaopts=[dhcp6.DHCP6OptIAAddress(addr="2001:db8::4")])
    got = gateway.ask(say(dhcp6.DHCP6_Request, server, elsewhere))
    same(got[dhcp6.DHCP6OptIA_NA].ianaopts[0].statuscode, 4)
    got = gateway.ask(say(dhcp6.DHCP6_Release, server, wanted))
    same(got[dhcp6.DHCP6OptStatusCode].statuscode, 0)
    got = gateway.ask(say(dhcp6.DHCP6_InfoRequest))
    same(got[dhcp6.DHCP6OptDNSServers].dnsservers, ["2001:db8::53"])


def main():
    gateway = Gateway(sys.argv[1])
    try:
        for check in (arp, neighbor_discovery, ping, dhcpv4, dhcpv6):
            check(gateway)
            print(f"{check.__name__}: ok")
    finally:
        gateway.process.stdin.close()
        gateway.process.wait(10)


if __name__ == "__main__":
    main()
