//! What a shard may rely on, whichever ring it has: one script, run on the kernel and on the simulation.
//!
//! What the script expects is what the doc of [`plasma::ring::Ring`] promises. Where the kernel differs from the
//! simulation here, the simulation is wrong.

#![allow(clippy::unwrap_used)]

mod contract;
mod sim;

use contract::real::Real;
use contract::simulated::Simulated;
use contract::{accepting, connecting, receiving, sending};

/// One test per sentence and ring.
macro_rules! on_both_rings {
    ($($floor:ident: $($sentence:ident)*;)*) => {
        mod on_the_kernel {
            $($(#[test] fn $sentence() { super::$floor::$sentence::<super::Real>(); })*)*
        }
        mod in_the_simulation {
            $($(#[test] fn $sentence() { super::$floor::$sentence::<super::Simulated>(); })*)*
        }
    };
}

on_both_rings! {
    accepting:
        a_client_is_accepted_with_its_address
        a_bell_ends_a_wait
        a_wait_ends_at_its_deadline
        a_cancelled_accept_completes_for_the_last_time
        a_full_table_closes_the_client_and_ends_the_accept
        a_closed_slot_is_handed_out_again
        close_ends_every_op_and_the_client_sees_it_at_once
        a_reset_close_is_seen_as_a_reset
        a_reset_close_throws_away_what_was_not_read;
    receiving:
        a_poll_reports_bytes_and_a_receive_brings_them
        a_poll_armed_late_reports_what_is_already_there
        a_receive_waits_only_if_asked_to
        a_peek_takes_nothing
        an_end_and_a_reset_are_told_apart
        a_dead_socket_keeps_its_poll
        a_cancelled_poll_completes_for_the_last_time
        lent_out_buffers_mean_enobufs_until_one_comes_back;
    sending:
        a_send_that_goes_whole_says_nothing
        a_full_socket_takes_a_part_then_nothing
        gathered_pieces_arrive_in_order
        a_pending_send_ends_when_the_client_reads
        a_cancelled_send_says_what_went
        a_reset_is_an_error_of_the_next_sends
        a_zero_copy_send_completes_twice
        a_stalled_reader_holds_zero_copied_memory_even_after_the_close
        a_reset_close_frees_zero_copied_memory_of_a_stalled_reader;
    connecting:
        a_connection_is_made_and_carries_bytes
        nobody_there_is_an_error
        localhost_is_found
        an_unknown_name_is_an_error;
}
