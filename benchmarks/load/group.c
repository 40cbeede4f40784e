/* One control connection asks for M sends to a group; the next round begins when all N x M arrived. */
#include "modes.h"

#include <stdlib.h>

static struct link *receivers;
static struct link *control;
static uint8_t *frames[2];   /* the order for one message, and for options.messages */
static size_t frame_sizes[2];
static uint64_t arrived, per_receiver;

static void on_message(struct link *link, uint64_t size)
{
    if (link == control)
        report_error("the control connection got a message");
    if (size != options.size && !options.deflate)
        report_error("receiver %u: a message of %llu bytes", link->index, (unsigned long long)size);
    arrived++;
}

static uint8_t *new_order(const uint8_t *payload, uint32_t messages, size_t *size)
{
    uint8_t *body = allocate(options.size + 2, 1);
    uint8_t *frame = allocate(options.size + 2 + MAX_CLIENT_HEAD, 1);
    body[0] = (uint8_t)(messages >> 8);
    body[1] = (uint8_t)messages;
    for (size_t i = 0; i < options.size; i++)
        body[2 + i] = payload[i];
    *size = client_frame(frame, OP_BINARY, body, options.size + 2);
    free(body);
    return frame;
}

/* Until all receivers have their message, for so long at most. */
static void pump_for(double seconds)
{
    uint64_t end = end_after(seconds);
    bool spin = run.spin;
    run.spin = true;
    while (arrived < options.connections && clock_ns() < end)
        pump();
    run.spin = spin;
}

/* A server may join a socket to its group only after the 101 left: try until one round is complete. */
static void await_membership(void)
{
    for (int attempt = 0; attempt < 20 && run.errors == 0; attempt++) {
        arrived = 0;
        link_write(control, frames[0], frame_sizes[0]);
        pump_for(0.5);
        if (arrived == options.connections)
            return;
    }
    report_error("a message to the group reached %llu of %u receivers", (unsigned long long)arrived,
                 options.connections);
}

static void prepare(void)
{
    uint8_t *payload = new_payload();
    frames[0] = new_order(payload, 1, &frame_sizes[0]);
    frames[1] = new_order(payload, options.messages, &frame_sizes[1]);
    receivers = new_links(options.connections, 0);
    control = new_links(1, options.connections);
    connect_all(receivers, options.connections, 0, is_open);
    connect_all(control, 1, 1, is_open);
    if (run.errors == 0)
        await_membership();
    for (uint32_t i = 0; i < options.connections; i++)
        receivers[i].received = 0;
}

static void check_shares(void)
{
    for (uint32_t i = 0; i < options.connections; i++)
        if (receivers[i].received != per_receiver)
            report_error("receiver %u got %llu of %llu messages", i,
                         (unsigned long long)receivers[i].received, (unsigned long long)per_receiver);
}

static uint64_t perform(double seconds, uint64_t count)
{
    uint64_t end = end_after(seconds);
    uint64_t whole = (uint64_t)options.connections * options.messages;
    uint64_t rounds = 0;
    while (rounds < count && clock_ns() < end && run.errors == 0) {
        uint64_t begun = clock_ns();
        arrived = 0;
        link_write(control, frames[1], frame_sizes[1]);
        while (arrived < whole && run.errors == 0)
            pump();
        latency_add(run.now - begun);
        per_receiver += options.messages;
        rounds++;
    }
    check_shares();
    return rounds * whole;
}

const struct mode group_mode = {.name = "group", .message = on_message};
const struct work group_work = {&group_mode, prepare, perform};
