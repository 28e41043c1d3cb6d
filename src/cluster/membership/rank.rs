//! Rendezvous hashing: of several nodes the one that is responsible for something, the same as every node sees it; when a
//! node goes, only what it was responsible for moves.

use super::record::Incarnation;

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(parts: [&[u8]; 2]) -> u64 {
    const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01B3;
    let mut hash = OFFSET;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    // Neighbours in the last byte differ in the low bits alone: they are spread over all (SplitMix64's finish).
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// The one of `nodes` that is responsible for `thing`; `None` if there is none.
#[must_use]
pub fn first_of(thing: &[u8], nodes: impl IntoIterator<Item = Incarnation>) -> Option<Incarnation> {
    nodes.into_iter().max_by_key(|node| (hash([thing, node.raw()]), *node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> Incarnation {
        Incarnation::from_raw([number; 12])
    }

    #[test]
    fn things_spread_evenly_and_stay_with_their_node_while_it_is_there() {
        let nodes: Vec<Incarnation> = (1..=4).map(node).collect();
        let mut counts = [0; 4];
        for thing in 0..4_000_u32 {
            let first = first_of(&thing.to_be_bytes(), nodes.iter().copied()).unwrap();
            counts[usize::from(first.raw()[0]) - 1] += 1;
            let without = first_of(&thing.to_be_bytes(), nodes[..3].iter().copied()).unwrap();
            assert!(first == nodes[3] || first == without);
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(first_of(b"x", []), None);
    }
}
