//! The order in which a stream's publish is offered to the origins: rendezvous (highest random weight) hashing.
//!
//! All edges with the same set of origins choose the same one, and an origin that is added or removed moves only its own
//! streams. The hash is implemented here because media nodes of all versions must compute the same one.

use std::net::SocketAddr;

/// Returns the origins of `set`, the first choice for `key` first.
pub(super) fn rank(key: &str, set: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut ranked: Vec<(u64, SocketAddr)> = set
        .iter()
        .map(|origin| (weight(key, *origin), *origin))
        .collect();
    // The address breaks ties between equal weights, so that all edges agree.
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().map(|(_, origin)| origin).collect()
}

fn weight(key: &str, origin: SocketAddr) -> u64 {
    let hash = fnv1a(FNV_OFFSET, key.as_bytes());
    // UTF-8 has no byte 0xFF, so it separates key and address.
    let hash = fnv1a(hash, &[0xFF]);
    mix(fnv1a(hash, origin.to_string().as_bytes()))
}

/// Continues an FNV-1a hash of 64 bits.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

/// Applies the finalizer of SplitMix64. With FNV-1a alone, addresses that differ at their end have similar high bits.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const STREAMS: usize = 4_000;

    fn keys() -> Vec<String> {
        (0..STREAMS).map(|n| format!("live/stream{n}")).collect()
    }

    fn origins() -> impl Strategy<Value = Vec<SocketAddr>> {
        prop::collection::hash_set((any::<u32>(), 1024_u16..), 2..12).prop_map(|set| {
            set.into_iter()
                .map(|(ip, port)| (Ipv4Addr::from_bits(ip), port).into())
                .collect()
        })
    }

    #[test]
    fn hash_is_the_same_in_every_version() {
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_F739_67E8);
        assert_eq!(mix(0x9E37_79B9_7F4A_7C15), 0xE220_A839_7B1D_CDAF);
        let set = ["10.0.0.1:9090", "10.0.0.2:9090", "[fd00::3]:9090"].map(|a| a.parse().unwrap());
        let ranked = rank("live/livestream", &set)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(ranked, ["[fd00::3]:9090", "10.0.0.1:9090", "10.0.0.2:9090"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn streams_spread_evenly(set in origins()) {
            let mut load: HashMap<SocketAddr, usize> = HashMap::new();
            for key in keys() {
                *load.entry(rank(&key, &set)[0]).or_default() += 1;
            }
            let mean = STREAMS / set.len();
            for origin in &set {
                let streams = load.get(origin).copied().unwrap_or(0);
                prop_assert!(streams > mean * 3 / 4 && streams < mean * 5 / 4, "{streams} of mean {mean}");
            }
        }

        #[test]
        fn removed_origin_moves_only_its_own_streams(set in origins(), removed in any::<prop::sample::Index>()) {
            let removed = *removed.get(&set);
            let rest: Vec<SocketAddr> = set.iter().copied().filter(|origin| *origin != removed).collect();
            for key in keys().into_iter().take(500) {
                let mut before = rank(&key, &set);
                before.retain(|origin| *origin != removed);
                prop_assert_eq!(before, rank(&key, &rest));
            }
        }

        #[test]
        fn order_of_the_set_does_not_matter(set in origins()) {
            let unordered: HashSet<SocketAddr> = set.iter().copied().collect();
            let again: Vec<SocketAddr> = unordered.into_iter().collect();
            prop_assert_eq!(rank("live/a", &set), rank("live/a", &again));
        }
    }
}
