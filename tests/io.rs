//! What every backend of `tidegate::io` promises, held for each of them by the same scenarios.

#[path = "io/files.rs"]
mod files;
#[path = "io/host.rs"]
mod host;
#[path = "whole/kernel/mod.rs"]
mod kernel;
#[path = "io/machine.rs"]
mod machine;
#[path = "io/operations.rs"]
mod operations;
#[path = "io/real.rs"]
mod real;
#[path = "io/scenarios.rs"]
mod scenarios;
#[path = "io/simulated.rs"]
mod simulated;

macro_rules! conforms {
    ($name:ident, $world:ty, $($scenario:ident)*) => {
        mod $name {
            $(#[test]
            fn $scenario() {
                <$world as crate::host::World>::each_seed(crate::scenarios::$scenario::<$world>);
            })*
        }
    };
    ($($name:ident: $world:ty),*) => {
        $(conforms! {
            $name, $world,
            bytes_are_echoed_however_they_are_cut
            an_empty_send_is_reported
            a_socket_closes_in_every_state
            operations_on_a_closed_socket_are_dropped
            an_index_is_used_again_with_another_generation
            a_reset_is_an_end_and_fails_the_send
            either_side_ends_alone
            receiving_goes_on_when_buffers_come_back
            starved_sockets_that_are_closed_or_stopped_hold_nobody_up
            a_stopped_socket_goes_on_in_order
            a_long_send_to_a_slow_reader_arrives_whole
            a_peer_that_takes_nothing_is_reset
            stopping_takes_those_who_are_through
            a_listener_that_never_accepted_stops
            an_adopted_socket_is_as_one_that_was_accepted
            a_wake_ends_a_wait_and_is_reported
            a_wait_ends_at_its_time
            blocks_that_were_written_are_read_back
            transfers_of_a_closed_file_are_reported
            a_read_beyond_the_end_is_an_error
            random_operations_lose_no_byte
        })*
    };
}

conforms! {
    on_ring: crate::real::RealWorld<crate::real::OnRing>,
    on_epoll: crate::real::RealWorld<crate::real::OnEpoll>,
    on_simulation: crate::simulated::Simulated
}

macro_rules! conforms_on_this_machine {
    ($name:ident: $backend:ty) => {
        mod $name {
            use crate::machine;

            #[test]
            fn ten_thousand_sockets_are_served() {
                let test = concat!(stringify!($name), "::ten_thousand_sockets_are_served");
                machine::ten_thousand_sockets_are_served::<$backend>(test);
            }

            #[test]
            fn accepting_goes_on_after_descriptors_ran_out() {
                let test = concat!(stringify!($name), "::accepting_goes_on_after_descriptors_ran_out");
                machine::accepting_goes_on_after_descriptors_ran_out::<$backend>(test);
            }

            #[test]
            fn wakes_of_other_threads_are_never_lost() {
                machine::wakes_of_other_threads_are_never_lost::<$backend>();
            }

            #[test]
            fn a_unix_socket_that_cores_share_is_accepted_by_each() {
                machine::a_unix_socket_that_cores_share_is_accepted_by_each::<$backend>();
            }

            #[test]
            fn a_backend_that_is_dropped_ends_what_is_in_flight() {
                machine::a_backend_that_is_dropped_ends_what_is_in_flight::<$backend>();
            }
        }
    };
}

conforms_on_this_machine! { machine_ring: crate::real::OnRing }
conforms_on_this_machine! { machine_epoll: crate::real::OnEpoll }

#[test]
fn an_ordinary_user_is_served() {
    machine::an_ordinary_user_is_served();
}

#[test]
fn rings_for_many_cores_are_found_room_for() {
    machine::rings_for_many_cores_are_found_room_for();
}
