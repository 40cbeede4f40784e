"""Faults of the machine, the process and the application, done to server processes.

Those that are shown elsewhere already, below `tests`:

    FT-11 connection/test_slow_peers.py::test_a_message_that_many_wait_for_counts_once
    FT-11 connection/test_slow_peers.py::test_a_response_that_nobody_reads_counts_too
    FT-12 drivers/test_descriptors.py::test_without_descriptors_clients_are_told_and_let_go
    FT-16 drivers/test_epoll.py::test_a_loop_that_is_blocked_again_and_again_is_forgiven_once
    FT-17 test_handlers.py::test_pings_are_answered_while_a_handler_is_suspended
    FT-21 test_cli.py::test_a_signal_drains_with_1001
    FT-21 test_server.py::test_an_upgrade_during_the_stop_gets_503
    FT-24 stress/test_thread_storm.py::test_nothing_is_lost_doubled_or_out_of_a_threads_order
    FT-25 drivers/test_descriptors.py::test_the_sockets_of_a_fork_are_its_parents_alone
    FT-25 drivers/test_descriptors.py::test_verbs_from_threads_end_when_the_server_has_closed
    CL-02 connection/test_closing.py::test_a_peer_that_does_not_answer_our_close_is_dropped_in_time
    CL-03 connection/test_closing.py::test_fin_in_the_middle_of_a_frame_delivers_nothing
    CL-04 connection/test_closing.py::test_messages_that_cross_our_close_are_ignored
    CL-05 connection/test_closing.py::test_a_peer_that_closes_and_does_not_read_is_dropped
    KA-04 connection/test_pings.py::test_a_peer_that_does_not_answer_is_closed_with_1011
    KA-05 connection/test_pings.py::test_a_pong_answers_its_ping_and_those_before
    KA-06 test_websocket.py::test_a_ping_that_nobody_waits_for_any_more_is_forgotten
"""
