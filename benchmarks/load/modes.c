#include "modes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 32, BUCKETS = 64 * STEPS };

struct options options;

static uint64_t buckets[BUCKETS];

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        perror("load");
        exit(2);
    }
    return memory;
}

struct link *new_links(uint32_t count, uint32_t first)
{
    struct link *links = allocate(count, sizeof *links);
    for (uint32_t i = 0; i < count; i++) {
        links[i].index = first + i;
        links[i].fd = -1;
        if (options.in_flight > 0)
            links[i].sent_at = allocate(options.in_flight, sizeof *links[i].sent_at);
    }
    return links;
}

static uint8_t *read_payload(void)
{
    FILE *file = fopen(options.payload, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(options.payload);
        exit(2);
    }
    options.size = (size_t)ftell(file);
    rewind(file);
    uint8_t *payload = allocate(options.size + 1, 1);
    if (fread(payload, 1, options.size, file) != options.size) {
        perror(options.payload);
        exit(2);
    }
    fclose(file);
    return payload;
}

uint8_t *new_payload(void)
{
    uint8_t *payload;
    if (options.payload != NULL) {
        payload = read_payload();
    } else {
        payload = allocate(options.size + 1, 1);
        fill_payload(payload, options.size);
    }
    run.expected = payload;
    run.expected_size = options.size;
    return payload;
}

uint64_t end_after(double seconds)
{
    return clock_ns() + (uint64_t)(seconds * 1e9);
}

bool is_open(const struct link *link)
{
    return link->state == LINK_OPEN;
}

void connect_all(struct link *links, uint32_t count, int path, bool (*ready)(const struct link *))
{
    uint32_t begun = 0, done = 0;
    while (done < count && run.errors == 0) {
        while (begun < count && begun - done < options.parallel)
            link_connect(&links[begun++], path);
        pump();
        while (done < begun && ready(&links[done]))
            done++;
    }
}

/* Bucket of a value: its power of two, then STEPS linear steps within. */
static int bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (int)ns;
    int power = 63 - __builtin_clzll(ns);
    return (power - 4) * STEPS + (int)(ns >> (power - 5)) - STEPS;
}

static double bucket_middle(int bucket)
{
    if (bucket < STEPS)
        return bucket;
    int power = bucket / STEPS + 4;
    return ldexp(STEPS + bucket % STEPS + 0.5, power - 5);
}

void latency_reset(void)
{
    memset(buckets, 0, sizeof buckets);
}

void latency_add(uint64_t ns)
{
    buckets[bucket_of(ns)]++;
}

double latency_us(double quantile)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += buckets[i];
    for (int i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if (total > 0 && (double)seen >= quantile * (double)total)
            return bucket_middle(i) / 1e3;
    }
    return 0;
}
