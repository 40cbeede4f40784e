/* The four kinds of load. Each connects, warms up, reports that it is ready, works, and reports. */
#ifndef MODES_H
#define MODES_H

#include "link.h"

struct options {
    int port;
    uint32_t connections;
    uint32_t in_flight;    /* echo: messages under way per connection */
    uint32_t messages;     /* group: group sends per round */
    uint32_t parallel;     /* connections being opened at once; churn: being used at once */
    size_t size;           /* payload bytes */
    const char *payload;   /* file that has the payload instead; with `deflate`, for echo, deflated */
    double seconds;        /* bound in time of the measured part */
    double warmup;         /* seconds */
    uint64_t count;        /* bound in number of the measured part: messages, rounds or connections */
    bool text;
    bool deflate;          /* messages are compressed both ways */
    bool tls;
    bool spin;
};

extern struct options options;

extern const struct mode echo_mode, group_mode, churn_mode, idle_mode;

/* What a mode brings along: connect everything, then work for a while; returns messages done. */
struct work {
    const struct mode *mode;
    void (*prepare)(void);
    uint64_t (*perform)(double seconds, uint64_t count);
};

extern const struct work echo_work, group_work, churn_work, idle_work;

/* Connect `links[0..count)`, options.parallel at a time, until every `ready(link)` is true. */
void connect_all(struct link *links, uint32_t count, int path, bool (*ready)(const struct link *));

/* True once the 101 has arrived. */
bool is_open(const struct link *link);

/* `count` links numbered from `first`. */
struct link *new_links(uint32_t count, uint32_t first);

/* ns since boot at which work of `seconds` from now ends. */
uint64_t end_after(double seconds);

/* Zeroed memory, or the end of the process. */
void *allocate(size_t count, size_t size);

/* A payload of options.size bytes, or of the file options.payload, also put into run.expected. */
uint8_t *new_payload(void);

/* Latencies, from the last latency_reset on; log scale, 3 % wide. */
void latency_reset(void);
void latency_add(uint64_t ns);
double latency_us(double quantile);

#endif
