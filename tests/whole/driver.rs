//! Runs the cores of a simulated world: one turn of one core at a time, in an order of the seed, with stalls, and virtual
//! time in between.

use crate::kernel::World;

/// A core that runs on a simulated kernel.
pub trait Core {
    /// One wait and what follows from it, at `now`.
    fn turn(&mut self, now: u64);
}

/// Longest time that a core does not run although it could, in nanoseconds.
const STALL_MAX: usize = 20_000_000;
/// A turn that nothing calls for, one time in this many: waits may return early.
const SPURIOUS_ONE_IN: usize = 32;
/// A core stalls after a turn, one time in this many.
const STALL_ONE_IN: usize = 64;

pub struct Driver<C> {
    pub world: World,
    pub cores: Vec<C>,
    /// Times until which cores stall.
    stalled: Vec<u64>,
}

impl<C: Core> Driver<C> {
    /// Runs `cores`, each on the kernel of its number.
    pub fn new(world: World, cores: Vec<C>) -> Driver<C> {
        let stalled = vec![0; cores.len()];
        Driver { world, cores, stalled }
    }

    /// Runs one turn, or moves time to the next thing that happens, at most to `until`. Returns `false` if nothing happens
    /// before `until`.
    pub fn step(&mut self, until: u64) -> bool {
        let now = self.world.now();
        let spurious = self.world.below(SPURIOUS_ONE_IN) == 0;
        let runnable: Vec<usize> = (0..self.cores.len())
            .filter(|core| self.stalled[*core] <= now && (spurious || self.world.is_runnable(*core)))
            .collect();
        if let Some(core) = runnable.get(self.world.below(runnable.len())) {
            self.cores[*core].turn(now);
            if self.world.below(STALL_ONE_IN) == 0 {
                self.stalled[*core] = now + self.world.below(STALL_MAX) as u64;
            }
            return true;
        }
        let waits = (0..self.cores.len()).filter_map(|core| self.world.waits_until(core));
        let stalls = self.stalled.iter().copied();
        let next = waits.chain(stalls).chain(self.world.next_event()).filter(|at| *at > now).min();
        self.world.advance(next.unwrap_or(until).min(until));
        next.is_some_and(|next| next <= until)
    }
}
