//! Which addresses a pod can have. Whoever may write a pod's status could else send our requests anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is none that a pod is asked at; `None` if it may be one.
pub fn no_address_of_a_pod(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("it is unspecified"),
        [127, ..] => Some("it is a loopback address"),
        // The metadata of most clouds is at one of these.
        [169, 254, ..] => Some("it is a link-local address"),
        [224..=239, ..] => Some("it is a multicast address"),
        // Oracle's metadata is at one of the latter.
        [240..=255, ..] | [192, 0, 0, _] => Some("it is a reserved address"),
        // Alibaba's and Azure's, among addresses that pods may have.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Some("the cloud's metadata is there"),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("it is unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("it is a loopback address"),
        // Mapped, compatible, translated, of NAT64, 6to4, Teredo and ISATAP: another way to write an address of IPv4, which
        // may be any. A pod's own is never written so.
        [0, 0, 0, 0, ..]
        | [0x64, 0xff9b, ..]
        | [0x2002, ..]
        | [0x2001, 0, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some("it holds an address of IPv4"),
        [0xfe80..=0xfebf, ..] => Some("it is a link-local address"),
        [0x100, 0, 0, 0, ..] | [0xfec0..=0xfeff, ..] => Some("it is a reserved address"),
        [0xff00..=0xffff, ..] => Some("it is a multicast address"),
        // Amazon's, Google's and Oracle's, among addresses that pods may have.
        [0xfd00, 0xec2 | 0xc1, ..] | [0xfd20, 0xce, ..] => Some("the cloud's metadata is there"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(address: &str) -> Option<&'static str> {
        no_address_of_a_pod(address.parse().unwrap())
    }

    #[test]
    fn what_pods_have_may_be_asked() {
        for address in [
            "10.0.0.7",
            "172.16.3.4",
            "192.168.1.9",
            "100.64.0.9",
            "100.100.100.199",
            "198.18.0.5",
            "192.0.1.1",
            "203.0.113.9",
            "168.63.129.17",
            "fd00::7",
            "fd00:10:244::a",
            "2600:1f18::1",
            "2001:db8::7",
            "fd20:cd::1",
        ] {
            assert_eq!(why(address), None, "{address}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_not_asked_however_it_is_written() {
        for (address, part) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("::", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("::1", "loopback"),
            ("169.254.169.254", "link-local"),
            ("169.254.170.2", "link-local"),
            ("fe80::1", "link-local"),
            ("fe80::a9fe:a9fe", "link-local"),
            ("febf::1", "link-local"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.250", "multicast"),
            ("ff02::1", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("192.0.0.192", "reserved"),
            ("fec0::1", "reserved"),
            ("100::1", "reserved"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("fd00:ec2::23", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("fd00:c1::a9fe:a9fe", "metadata"),
            ("::ffff:127.0.0.1", "IPv4"),
            ("::ffff:169.254.169.254", "IPv4"),
            ("::ffff:10.0.0.7", "IPv4"),
            ("::ffff:0:127.0.0.1", "IPv4"),
            ("::127.0.0.1", "IPv4"),
            ("64:ff9b::a9fe:a9fe", "IPv4"),
            ("64:ff9b:1::a9fe:a9fe", "IPv4"),
            ("2002:a9fe:a9fe::", "IPv4"),
            ("2002:7f00:1::", "IPv4"),
            ("2001:0:7f00:1::", "IPv4"),
            ("2001:db8::5efe:7f00:1", "IPv4"),
            ("2001:db8::200:5efe:169.254.169.254", "IPv4"),
        ] {
            let said = why(address);
            assert!(said.is_some_and(|said| said.contains(part)), "{address}: {said:?}");
        }
    }
}
