//! The seeds of the fuzz targets `charset` and `disposition`, each as it stands and altered, on any compiler: the targets
//! themselves need a nightly one.

#[path = "../fuzz/common/headers.rs"]
mod headers;

use std::fs;
use std::path::Path;

/// Alterations of each seed.
const ALTERED: usize = 3_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn alter(bytes: &mut Vec<u8>, random: &mut Random) {
    const SIGNS: &[u8] = b"\0\";=\\*'% \t%u{}[],:\x1b\x7f\x80\xd8\xe3\xff";
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len() + 1);
        match random.below(4) {
            0 if place < bytes.len() => drop(bytes.remove(place)),
            1 if place < bytes.len() => bytes[place] = random.below(256) as u8,
            2 => bytes.insert(place, SIGNS[random.below(SIGNS.len())]),
            _ => bytes.insert(place, random.below(256) as u8),
        }
    }
}

fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut random = Random(1);
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder of seeds") {
        let seed = fs::read(entry.expect("a seed").path()).expect("a seed");
        check(&seed);
        for _ in 0..ALTERED {
            let mut bytes = seed.clone();
            alter(&mut bytes, &mut random);
            check(&bytes);
        }
        count += 1;
    }
    assert!(count >= 6, "{target} has {count} seeds");
}

#[test]
fn bodies_in_a_declared_charset_are_decoded() {
    run("charset", headers::charset);
}

#[test]
fn the_names_of_a_part_are_those_of_its_disposition() {
    run("disposition", headers::disposition);
}
