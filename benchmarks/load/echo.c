/* Every connection keeps K messages in flight: as many are sent again as came back with one read. */
#include "modes.h"

static struct link *links;
static uint8_t *frames;      /* K equal frames, one behind the other */
static size_t frame_size;
static uint64_t done, in_flight, limit;
static bool stopping;

static void send_owed(struct link *link)
{
    uint32_t count = link->owed;
    if (count == 0 || link->out_left > 0)
        return;
    link->owed = 0;
    for (uint32_t i = 0; i < count; i++)
        link->sent_at[link->sent++ % options.in_flight] = run.now;
    link_write(link, frames, count * frame_size);
}

static void on_message(struct link *link, uint64_t size)
{
    latency_add(run.now - link->sent_at[(link->received - 1) % options.in_flight]);
    if (size != options.size && !options.deflate)
        report_error("connection %u: %llu bytes came back", link->index, (unsigned long long)size);
    done++;
    if (stopping || done + in_flight > limit)
        in_flight--;
    else
        link->owed++;
}

static void prepare(void)
{
    uint8_t *payload = new_payload();
    int opcode = (options.text ? OP_TEXT : OP_BINARY) | (options.deflate ? RSV1 : 0);
    frames = allocate(options.in_flight, options.size + MAX_CLIENT_HEAD);
    for (uint32_t i = 0; i < options.in_flight; i++)
        frame_size = client_frame(frames + i * frame_size, opcode, payload, options.size);
    links = new_links(options.connections, 0);
    connect_all(links, options.connections, 0, is_open);
}

static uint64_t perform(double seconds, uint64_t count)
{
    uint64_t end = end_after(seconds);
    done = 0;
    limit = count;
    stopping = false;
    in_flight = (uint64_t)options.connections * options.in_flight;
    run.now = clock_ns();
    for (uint32_t i = 0; i < options.connections; i++) {
        links[i].owed = options.in_flight;
        send_owed(&links[i]);
    }
    while (in_flight > 0 && run.errors == 0) {
        pump();
        stopping = run.now >= end;
    }
    return done;
}

const struct mode echo_mode = {
    .name = "echo", .message = on_message, .batch = send_owed, .drained = send_owed};
const struct work echo_work = {&echo_mode, prepare, perform};
