//! The slab of generations against a map: a key finds its own value or nothing.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::collections::HashMap;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::base::slots::{Key, Slots};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut slots: Slots<u32> = Slots::new();
    let mut model: HashMap<Key, u32> = HashMap::new();
    let mut keys: Vec<Key> = Vec::new();
    let mut most = 0;
    while !choices.is_over() {
        match choices.below(4) {
            0 | 1 => {
                let value = keys.len() as u32;
                let key = slots.insert(value);
                assert!(model.insert(key, value).is_none() && !keys.contains(&key), "a key is given twice");
                keys.push(key);
            }
            2 => {
                let key = key(&mut choices, &keys);
                assert_eq!(slots.remove(key), model.remove(&key));
            }
            _ => {
                let key = key(&mut choices, &keys);
                if let Some(value) = slots.get_mut(key) {
                    *value ^= 0x8000_0000;
                    *model.get_mut(&key).expect("the model has it too") ^= 0x8000_0000;
                }
                assert_eq!(slots.get(key), model.get(&key));
            }
        }
        most = most.max(model.len());
        assert_eq!((slots.len(), slots.is_empty()), (model.len(), model.is_empty()));
    }
    let all: HashMap<Key, u32> = slots.iter().map(|(key, value)| (key, *value)).collect();
    assert_eq!(all, model);
    assert_eq!(slots.iter_mut().count(), model.len());
    assert!(all.keys().all(|key| (key.index as usize) < most), "a place was left while a new one was made");
});

/// A key that was given, or one from elsewhere.
fn key(choices: &mut Choices<'_>, keys: &[Key]) -> Key {
    let (index, generation) = (choices.byte(), choices.byte());
    match keys.get(usize::from(index)) {
        Some(key) if generation != 0xFF => *key,
        _ => Key { index: u32::from(index), generation: u32::from(generation) },
    }
}
