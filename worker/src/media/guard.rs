//! Which addresses a worker may be told to ask: public ones, and what the operator adds. Whoever can send a command must
//! not be able to look into the network the worker stands in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use url::{Host, Url};

use super::{MediaError, refused};

/// A network as `address/prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network in the form address/prefix")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = text.split_once('/').ok_or(NotANetwork)?;
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or(NotANetwork)?;
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(head: [u16; 6], prefix: u8) -> Self {
        let [a, b, c, d, e, f] = head;
        Self { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, 0, 0)), prefix }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u32| {
            let shift = bits - u32::from(self.prefix);
            shift == bits || a >> shift == b >> shift
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => self.prefix == 0 || same(u128::from(a), u128::from(b), 128),
            _ => false,
        }
    }
}

/// What IANA's registries of special-purpose addresses call not globally reachable, and multicast.
const NOT_PUBLIC: [Network; 15] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
];
/// Global unicast addresses lie here; everything outside is loopback, local, a translation prefix or not given out.
const UNICAST: Network = Network::v6([0x2000, 0, 0, 0, 0, 0], 3);
/// And within it: protocol assignments with Teredo, documentation, 6to4, and documentation again.
const NOT_PUBLIC_V6: [Network; 4] = [
    Network::v6([0x2001, 0, 0, 0, 0, 0], 23),
    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0], 32),
    Network::v6([0x2002, 0, 0, 0, 0, 0], 16),
    Network::v6([0x3fff, 0, 0, 0, 0, 0], 20),
];

/// What clouds answer instances under, though it looks public.
const METADATA: [Network; 1] = [Network::v4(168, 63, 129, 16, 32)];

/// Whether an address belongs to the open internet. Addresses that hold another one (mapped, translated, tunnelled) never
/// do: they lead to it.
#[must_use]
pub(super) fn is_public(address: IpAddr) -> bool {
    let in_any = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
    match address {
        IpAddr::V4(_) => !in_any(&NOT_PUBLIC) && !in_any(&METADATA),
        IpAddr::V6(_) => UNICAST.contains(address) && !in_any(&NOT_PUBLIC_V6),
    }
}

/// What may be asked.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks that may be asked although they are not public.
    pub allowed: Vec<Network>,
    /// Whether `http` will do.
    pub http: bool,
}

/// An address that was checked: a host, and where it really is.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) url: Url,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Guard {
    /// Checks an address and looks its host up, once: what is returned is what must be connected to.
    ///
    /// # Errors
    /// [`MediaError::Refused`] when it may not be asked, [`MediaError::Away`] when the host is not known.
    pub(super) async fn check(&self, url: &str) -> Result<Checked, MediaError> {
        let url = Url::parse(url).map_err(|_| refused("the address is none"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            "http" => return Err(refused("the address must begin with https://")),
            _ => return Err(refused("the address leads to something other than https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the address holds a user's name"));
        }
        let port = url.port_or_known_default().ok_or_else(|| refused("the address has no port"))?;
        let addresses: Vec<SocketAddr> = match url.host().ok_or_else(|| refused("the address has no host"))? {
            Host::Ipv4(address) => vec![(address, port).into()],
            Host::Ipv6(address) => vec![(address, port).into()],
            Host::Domain(name) => {
                let unknown = |_| MediaError::Away("the host of the address is not known".to_owned());
                tokio::net::lookup_host((name, port)).await.map_err(unknown)?.collect()
            }
        };
        if addresses.is_empty() {
            return Err(MediaError::Away("the host of the address has no address".to_owned()));
        }
        // One that is not public is enough: a name with both is made to be tried until the right one is hit.
        if !addresses.iter().all(|address| self.allows(address.ip())) {
            return Err(refused("the address does not lead to the open internet"));
        }
        Ok(Checked { url, addresses })
    }

    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_open_internet_are_public() {
        for (text, public) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.15.255.255", true),
            ("172.32.0.1", true),
            ("100.63.255.255", true),
            ("100.128.0.1", true),
            ("192.0.1.1", true),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001:80b::200e", true),
            ("2001:4860:4860::8888", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.192", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", false),
            ("64:ff9b:1::a00:1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::1", false),
            ("2002:808:808::1", false),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("5f00::1", false),
        ] {
            assert_eq!(is_public(text.parse().expect("an address")), public, "{text}");
        }
    }

    async fn verdict(guard: &Guard, url: &str) -> Result<Vec<SocketAddr>, &'static str> {
        match guard.check(url).await {
            Ok(checked) => Ok(checked.addresses),
            Err(MediaError::Refused(_)) => Err("refused"),
            Err(_) => Err("away"),
        }
    }

    #[tokio::test]
    async fn every_spelling_of_a_private_address_is_refused() {
        let guard = Guard { allowed: Vec::new(), http: true };
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fe80::1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://①⑥⑨.254.169.254/",
            "http://localhost/",
            "http://localhost:6379/",
            "https://10.0.0.1:8443/",
            "ftp://93.184.215.14/",
            "file:///etc/passwd",
            "gopher://93.184.215.14/",
            "http://user@93.184.215.14/",
            "not an address",
        ] {
            assert_eq!(verdict(&guard, url).await, Err("refused"), "{url}");
        }
        let public = "93.184.215.14:80".parse().expect("an address");
        assert_eq!(verdict(&guard, "http://93.184.215.14/a").await, Ok(vec![public]));
    }

    #[tokio::test]
    async fn http_and_own_networks_are_for_the_operator_to_allow() {
        let strict = Guard::default();
        assert_eq!(verdict(&strict, "http://93.184.215.14/").await, Err("refused"));
        assert!(verdict(&strict, "https://93.184.215.14/").await.is_ok());
        let own = Guard { allowed: vec!["10.20.0.0/16".parse().expect("a network")], http: false };
        assert!(verdict(&own, "https://10.20.3.4/").await.is_ok());
        assert_eq!(verdict(&own, "https://10.21.3.4/").await, Err("refused"));
        assert_eq!(verdict(&own, "https://[::ffff:10.20.3.4]/").await, Err("refused"));
    }

    #[test]
    fn networks_hold_what_their_prefix_says() {
        for (network, address, inside) in [
            ("0.0.0.0/0", "8.8.8.8", true),
            ("::/0", "fe80::1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("fd00::/8", "fdff::1", true),
            ("127.0.0.0/8", "::1", false),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(address.parse().expect("an address")), inside, "{network} {address}");
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
