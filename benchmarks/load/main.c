/* load: a WebSocket load generator. One thread, one epoll instance; OpenSSL for TLS, nothing else.
 *
 *   load echo|group|churn|idle --port P [options]
 *
 * Prints one JSON line when it is ready, waits for a line (or EOF) on stdin, works, prints the result
 * as a JSON line, and keeps its connections until the next line or EOF. That way whoever started it can
 * read the server's clocks exactly around the work, without connecting and hanging up.
 */
#include "modes.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct work *const WORKS[] = {&echo_work, &group_work, &churn_work, &idle_work};

static const struct option LONG_OPTIONS[] = {
    {"port", required_argument, NULL, 'p'},     {"connections", required_argument, NULL, 'c'},
    {"in-flight", required_argument, NULL, 'k'}, {"messages", required_argument, NULL, 'm'},
    {"parallel", required_argument, NULL, 'j'}, {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},  {"warmup", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'n'},    {"text", no_argument, NULL, 'x'},
    {"payload", required_argument, NULL, 'P'},  {"deflate", no_argument, NULL, 'd'},
    {"tls", no_argument, NULL, 'e'},            {"spin", no_argument, NULL, 'S'},
    {NULL, 0, NULL, 0}};

static void usage(void)
{
    fputs("usage: load echo|group|churn|idle --port P [--connections N] [--in-flight N] [--messages N]\n"
          "            [--parallel N] [--size BYTES] [--payload FILE] [--deflate] [--text] [--tls]\n"
          "            [--seconds S] [--warmup S] [--count N] [--spin]\n",
          stderr);
    exit(2);
}

static void set_option(int letter)
{
    switch (letter) {
    case 'p': options.port = atoi(optarg); break;
    case 'c': options.connections = (uint32_t)atoi(optarg); break;
    case 'k': options.in_flight = (uint32_t)atoi(optarg); break;
    case 'm': options.messages = (uint32_t)atoi(optarg); break;
    case 'j': options.parallel = (uint32_t)atoi(optarg); break;
    case 's': options.size = (size_t)atoll(optarg); break;
    case 't': options.seconds = atof(optarg); break;
    case 'w': options.warmup = atof(optarg); break;
    case 'n': options.count = (uint64_t)atoll(optarg); break;
    case 'x': options.text = true; break;
    case 'P': options.payload = optarg; break;
    case 'd': options.deflate = true; break;
    case 'e': options.tls = true; break;
    case 'S': options.spin = true; break;
    default: usage();
    }
}

static void check_options(void)
{
    if (options.port <= 0 || options.port > 65535 || options.connections == 0 || options.in_flight == 0
        || options.parallel == 0 || options.messages == 0 || options.messages > 65535)
        usage();
}

static const struct work *read_arguments(int argc, char **argv)
{
    options = (struct options){.connections = 1, .in_flight = 1, .messages = 1, .parallel = 50,
                               .size = 32, .seconds = 1.0, .warmup = 0.0, .count = UINT64_MAX / 2};
    int letter;
    while ((letter = getopt_long(argc, argv, "", LONG_OPTIONS, NULL)) != -1)
        set_option(letter);
    check_options();
    for (size_t i = 0; optind < argc && i < sizeof WORKS / sizeof *WORKS; i++)
        if (strcmp(WORKS[i]->mode->name, argv[optind]) == 0)
            return WORKS[i];
    usage();
    return NULL;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static double own_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void write_requests(const struct mode *mode)
{
    const char *paths[2] = {mode == &group_mode ? "/group" : "/echo", "/publish"};
    for (int i = 0; i < 2; i++)
        run.request_sizes[i] = upgrade_request(run.requests[i], sizeof run.requests[i], paths[i], run.port,
                                               run.deflate && i == 0);
}

/* The error text is our own or strerror's: neither has a character JSON would have to escape. */
static void print_result(const struct work *work, uint64_t messages, double seconds, double cpu)
{
    printf("{\"event\": \"result\", \"mode\": \"%s\", \"messages\": %llu, \"seconds\": %.6f, "
           "\"errors\": %llu, \"error\": \"%s\", \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"load_cpu_seconds\": %.6f}\n",
           work->mode->name, (unsigned long long)messages, seconds, (unsigned long long)run.errors,
           run.first_error, latency_us(0.50), latency_us(0.99), cpu);
}

static void measure(const struct work *work)
{
    latency_reset();
    double cpu = own_cpu_seconds();
    uint64_t begun = clock_ns();
    uint64_t messages = run.errors == 0 ? work->perform(options.seconds, options.count) : 0;
    double seconds = (double)(clock_ns() - begun) / 1e9;
    print_result(work, messages, seconds, own_cpu_seconds() - cpu);
}

int main(int argc, char **argv)
{
    const struct work *work = read_arguments(argc, argv);
    raise_file_limit();
    loop_open(work->mode, options.port, options.spin);
    run.deflate = options.deflate;
    if (options.tls)
        use_tls();
    write_requests(work->mode);
    work->prepare();
    if (options.warmup > 0 && run.errors == 0)
        work->perform(options.warmup, options.count);
    puts("{\"event\": \"ready\"}");
    wait_for_line();
    measure(work);
    wait_for_line();
    return run.errors > 0;
}
