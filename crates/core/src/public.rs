//! Which addresses belong to the public internet: the one place that decides where tasker may call on
//! behalf of a client. Everything else may be a machine of its own network, or itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public: address, length of the prefix.
#[rustfmt::skip]
const CLOSED_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),          // this network
    ([10, 0, 0, 0], 8),         // private
    ([100, 64, 0, 0], 10),      // shared by the customers of a provider
    ([127, 0, 0, 0], 8),        // loopback
    ([168, 63, 129, 16], 32),   // metadata of a cloud that uses a public address for it
    ([169, 254, 0, 0], 16),     // link-local, and the metadata of most clouds
    ([172, 16, 0, 0], 12),      // private
    ([192, 0, 0, 0], 24),       // protocol assignments
    ([192, 0, 2, 0], 24),       // documentation
    ([192, 31, 196, 0], 24),    // reverse DNS of private networks
    ([192, 52, 193, 0], 24),    // multicast tunnels
    ([192, 88, 99, 0], 24),     // relays of IPv6
    ([192, 168, 0, 0], 16),     // private
    ([192, 175, 48, 0], 24),    // reverse DNS of private networks
    ([198, 18, 0, 0], 15),      // measurements
    ([198, 51, 100, 0], 24),    // documentation
    ([203, 0, 113, 0], 24),     // documentation
    ([224, 0, 0, 0], 4),        // multicast
    ([240, 0, 0, 0], 4),        // reserved, broadcast
];

/// The networks of IPv6 that are public, but for [`CLOSED_V6`].
const OPEN_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Networks within [`OPEN_V6`] that are not public.
#[rustfmt::skip]
const CLOSED_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),            // protocol assignments, tunnels, measurements
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),        // documentation
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),            // leads to any address of IPv4
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48),    // reverse DNS of private networks
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),            // documentation
];

/// Where networks without IPv4 reach it: the last four bytes are the address.
const NAT64: ([u16; 8], u32) = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) if is_within_v6(v6, NAT64) => {
            let [.., a, b, c, d] = v6.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(v6) => {
            is_within_v6(v6, OPEN_V6) && !CLOSED_V6.iter().any(|closed| is_within_v6(v6, *closed))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_within = |(network, length): &([u8; 4], u32)| {
        let differs = u32::from(address) ^ u32::from(Ipv4Addr::from(*network));
        differs.leading_zeros() >= *length
    };
    !CLOSED_V4.iter().any(is_within)
}

fn is_within_v6(address: Ipv6Addr, (network, length): ([u16; 8], u32)) -> bool {
    let differs = u128::from(address) ^ u128::from(Ipv6Addr::from(network));
    differs.leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for (address, expected) in [
            ("1.1.1.1", true),
            ("8.8.8.8", true),
            ("93.184.216.34", true),
            ("9.255.255.255", true),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("126.255.255.255", true),
            ("128.0.0.0", true),
            ("168.63.129.15", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("192.167.255.255", true),
            ("192.169.0.0", true),
            ("198.17.255.255", true),
            ("198.20.0.0", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("10.255.255.255", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("168.63.129.16", false),
            ("169.254.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.192", false),
            ("192.0.2.1", false),
            ("192.31.196.1", false),
            ("192.52.193.1", false),
            ("192.88.99.1", false),
            ("192.168.0.1", false),
            ("192.175.48.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001:81b::200e", true),
            ("2001:200::1", true),
            ("3ffe::1", true),
            ("::", false),
            ("::1", false),
            ("::7f00:1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::808:808", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:2::1", false),
            ("2001:20::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("2002:808:808::", false),
            ("2620:4f:8000::1", false),
            ("3fff::1", false),
            ("4000::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }
}
