/* SPDX-License-Identifier: Apache-2.0
 * Load for a comparator: plays both replicas and the reader of the output, over unix stream sockets.
 *
 *   generator WORKLOAD PRIMARY SECONDARY OUTPUT [--frames N] [--window N] [--patience SECONDS]
 *                                               [--tell N]
 *   generator --list
 *
 * A sliding window bounds how many of the primary's frames are on their way, so that nothing overflows in the proxy.
 * Every byte that comes out is checked against what the primary sent, and the order within each connection is watched.
 * With --tell, a line says when each N frames have come out: how many so far, and the seconds of the monotonic clock.
 * One JSON object goes to the standard output; exit status 0 when all came out right, 1 when not, 2 on bad use.
 */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 << 10, BUFFER = 1 << 20, LARGEST = 69632, ARP = 0x0806 };

/* One replica's sending: `part` 0 is the handshakes, part 1 + n the n-th lap. */
struct sender {
    int fd;
    struct side *opening, *lap;
    uint64_t part, parts;
    size_t next;               /* entry of the part that is to be prepared next */
    uint64_t prepared, total;  /* frames */
    const uint8_t *from, *to;  /* prepared and not yet written */
};

struct receiver {
    int fd;
    uint8_t *buffer;
    size_t have;
    uint64_t *expected;        /* per connection: the place that comes next */
    uint64_t frames, bytes, payload, out_of_order, wrong, digest;
};

struct run {
    struct workload w;
    struct sender senders[2];
    struct receiver receiver;
    uint64_t frames, payload, bytes, digest, window;
    uint64_t tell, told;       /* frames between two lines, 0: none; frames at the last line */
};

static void fail(const char *what)
{
    fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
    exit(2);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Connect, waiting until the peer is there. */
static int connect_to(const char *path, double patience)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    double end = now() + patience;

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address.sun_path, path);
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0) {
            fail("socket");
        }
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            fcntl(fd, F_SETFL, O_NONBLOCK);
            return fd;
        }
        close(fd);
        if (now() > end) {
            fail(path);
        }
        usleep(10000);
    }
}

/* A number that depends on all three, whose sums over two sets of frames are equal only for equal sets. */
static uint64_t mix(uint64_t connection, uint64_t offset, uint64_t size)
{
    uint64_t x = connection * 0x9e3779b97f4a7c15ull ^ offset * 0xbf58476d1ce4e5b9ull ^ size * 0x94d049bb133111ebull;

    x ^= x >> 31;
    x *= 0x7fb5d329728ea185ull;
    return x ^ x >> 27;
}

/* Make the next frames ready that the window allows: true if there are any. */
static bool prepare(struct run *run, int which)
{
    struct sender *s = &run->senders[which];
    uint64_t reach = run->receiver.frames + run->window;
    uint64_t allowed = which == 0 ? reach : reach * s->total / run->frames + 1;
    struct side *side = s->part == 0 ? s->opening : s->lap;

    if (s->next == side->count && s->part < s->parts) {
        s->part++;
        s->next = 0;
        side = s->lap;
    }
    if (s->next == side->count || s->prepared >= allowed) {
        return false;
    }
    s->from = s->to = side->bytes + side->entries[s->next].at;
    for (; s->next < side->count && s->prepared < allowed && s->to - s->from < CHUNK; s->next++, s->prepared++) {
        const struct entry *e = &side->entries[s->next];
        uint64_t lap = s->part ? s->part - 1 : 0;

        patch(&run->w, side, e, lap);
        s->to += e->length;
        if (which == 0 && !e->opening) {
            run->digest += mix(e->connection, lap * run->w.period + e->offset, e->size);
        }
    }
    return true;
}

/* Write what is ready: true if anything was written. */
static bool push(struct run *run, int which)
{
    struct sender *s = &run->senders[which];
    ssize_t n;

    if (s->from == s->to && !prepare(run, which)) {
        return false;
    }
    n = send(s->fd, s->from, (size_t)(s->to - s->from), MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return false;
        }
        fail(which ? "writing as the secondary" : "writing as the primary");
    }
    s->from += n;
    return true;
}

/* Check one frame of the output. */
static void check(struct run *run, const uint8_t *frame, size_t length)
{
    struct receiver *r = &run->receiver;
    const struct shape *shape = run->w.shape;
    const uint8_t *ip = frame + 14, *l4 = ip + 20, *payload;
    uint32_t connection, size;
    uint64_t offset;

    if (length >= 14 && get16(frame + 12) == ARP) {
        return;
    }
    r->frames++;
    r->bytes += length;
    connection = length < 42 ? UINT32_MAX : connection_of_port(get16(l4 + 2));
    if (connection >= shape->connections || ip[9] != shape->protocol || 14u + get16(ip + 2) != length) {
        r->wrong++;
        return;
    }
    if (shape->protocol == TCP && l4[13] & 2) {
        r->wrong += get32(l4 + 4) != initial_sequence(connection);
        return;
    }
    payload = l4 + (shape->protocol == UDP ? 8 : (l4[12] >> 4) * 4);
    size = (uint32_t)(frame + length - payload);
    if (shape->protocol == UDP) {
        offset = get64(payload) * size;
        payload += 8;
    } else {
        uint32_t base = initial_sequence(connection) + 1 + (uint32_t)r->expected[connection];

        offset = r->expected[connection] + (uint64_t)(int64_t)(int32_t)(get32(l4 + 4) - base);
    }
    r->out_of_order += offset != r->expected[connection];
    r->expected[connection] = offset + size;
    r->payload += size;
    r->digest += mix(connection, offset, size);
    if (shape->protocol == UDP) {
        r->wrong += size < 8 || memcmp(payload, expected_payload(&run->w, connection, offset) + 8, size - 8) != 0;
    } else {
        r->wrong += memcmp(payload, expected_payload(&run->w, connection, offset), size) != 0;
    }
}

/* Read the output and check it: true if anything was read. */
static bool pull(struct run *run)
{
    struct receiver *r = &run->receiver;
    size_t framing = run->w.shape->vnet_len ? 8 : 4, at = 0;
    ssize_t n = recv(r->fd, r->buffer + r->have, BUFFER - r->have, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        errno = n ? errno : ECONNRESET;
        fail("reading the output");
    }
    r->have += (size_t)n;
    while (r->have - at >= framing) {
        uint32_t length = get32(r->buffer + at), vnet = framing == 8 ? get32(r->buffer + at + 4) : 0;

        if (length == 0 || length > LARGEST || vnet != run->w.shape->vnet_len || vnet > length) {
            errno = EBADMSG;
            fail("framing of the output");
        }
        if (r->have - at < framing + length) {
            break;
        }
        check(run, r->buffer + at + framing + vnet, length - vnet);
        at += framing + length;
    }
    r->have -= at;
    memmove(r->buffer, r->buffer + at, r->have);
    return true;
}

/* Send ARP frames as the primary, which pass every proxy at once, until one comes out: then the proxy has accepted the
 * output's connection. QEMU loses what it releases before that. */
static void greet(struct run *run, double patience)
{
    uint32_t vnet = run->w.shape->vnet_len;
    uint8_t hello[128] = {0};
    size_t framing = vnet ? 8 : 4;
    double end = now() + patience;

    put32(hello, vnet + 60);
    if (vnet) {
        put32(hello + 4, vnet);
    }
    memset(hello + framing + vnet, 0xff, 6);
    memcpy(hello + framing + vnet + 6, "\x52\x54\x00\x12\x34\x56\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 16);
    while (!pull(run)) {
        struct pollfd ready = {run->receiver.fd, POLLIN, 0};

        if (now() > end) {
            errno = ETIMEDOUT;
            fail("no frame came out of the proxy");
        }
        if (send(run->senders[0].fd, hello, framing + vnet + 60, MSG_NOSIGNAL) < 0) {
            fail("writing as the primary");
        }
        poll(&ready, 1, 50);
    }
}

static bool finished(const struct run *run)
{
    const struct sender *s = run->senders;

    return run->receiver.payload >= run->payload && run->receiver.frames >= run->frames && s[0].from == s[0].to &&
           s[1].from == s[1].to && s[0].prepared == s[0].total && s[1].prepared == s[1].total;
}

static bool wait_for_room(struct run *run, double patience)
{
    struct pollfd fds[3] = {{run->receiver.fd, POLLIN, 0}};

    for (int i = 0; i < 2; i++) {
        fds[i + 1] = (struct pollfd){run->senders[i].from == run->senders[i].to ? -1 : run->senders[i].fd, POLLOUT, 0};
    }
    return poll(fds, 3, (int)(patience * 1000)) > 0;
}

static void tell(struct run *run)
{
    if (run->tell && run->receiver.frames - run->told >= run->tell) {
        run->told = run->receiver.frames;
        printf("%llu %.6f\n", (unsigned long long)run->told, now());
        fflush(stdout);
    }
}

/* Play the whole workload. Returns the seconds it took; `stalled` is set when nothing moved for `patience` seconds. */
static double play(struct run *run, double patience, bool *stalled)
{
    double begin = now();

    *stalled = false;
    while (!finished(run)) {
        bool moved = push(run, 0);

        moved |= push(run, 1);
        moved |= pull(run);
        tell(run);
        if (!moved && !wait_for_room(run, patience)) {
            *stalled = true;
            break;
        }
    }
    return now() - begin;
}

static void set_up(struct run *run, const struct shape *shape, uint64_t frames, uint64_t window)
{
    uint64_t laps;

    build_workload(&run->w, shape);
    laps = (frames + run->w.lap[0].count - 1) / run->w.lap[0].count;
    for (int i = 0; i < 2; i++) {
        struct sender *s = &run->senders[i];

        s->opening = &run->w.opening[i];
        s->lap = &run->w.lap[i];
        s->parts = laps;
        s->total = s->opening->count + laps * s->lap->count;
    }
    run->frames = run->senders[0].total;
    run->bytes = run->w.opening[0].length + laps * run->w.lap[0].length -
                 run->frames * (shape->vnet_len ? 8 + shape->vnet_len : 4);
    run->payload = laps * run->w.period * shape->connections;
    run->window = window;
    run->receiver.buffer = malloc(BUFFER);
    run->receiver.expected = calloc(shape->connections, sizeof *run->receiver.expected);
    if (run->receiver.buffer == NULL || run->receiver.expected == NULL) {
        fail("memory");
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    const struct shape *shape = argc < 5 ? NULL : find_shape(argv[1]);
    double patience = 10, seconds;
    bool stalled, right;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list_shapes();
        return 0;
    }
    if (shape == NULL) {
        fprintf(stderr, "usage: generator W1..W6 PRIMARY SECONDARY OUTPUT "
                        "[--frames N] [--window N] [--patience SECONDS] [--tell N]\n");
        return 2;
    }
    uint64_t frames = shape->frames, window = shape->window;
    for (int i = 5; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--frames") == 0) {
            frames = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--window") == 0) {
            window = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--patience") == 0) {
            patience = strtod(argv[i + 1], NULL);
        } else if (strcmp(argv[i], "--tell") == 0) {
            run.tell = strtoull(argv[i + 1], NULL, 10);
        }
    }
    set_up(&run, shape, frames ? frames : 1, window ? window : 1);
    run.senders[0].fd = connect_to(argv[2], patience);
    run.senders[1].fd = connect_to(argv[3], patience);
    run.receiver.fd = connect_to(argv[4], patience);
    greet(&run, patience);
    seconds = play(&run, patience, &stalled);
    /* A proxy may cut a frame of the primary in two: then only the order tells, and nothing is missing or twice. */
    right = !stalled && run.receiver.wrong == 0 && run.receiver.payload == run.payload &&
            (run.receiver.digest == run.digest || run.receiver.out_of_order == 0);
    printf("{\"workload\": \"%s\", \"title\": \"%s\", \"frames\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
           "\"window\": %llu, \"secondary_frames\": %llu, \"frames_out\": %llu, \"bytes_out\": %llu, "
           "\"out_of_order\": %llu, \"wrong\": %llu, \"stalled\": %s, \"digest\": \"%016llx\", \"right\": %s}\n",
           shape->name, shape->title, (unsigned long long)run.frames, (unsigned long long)run.bytes, seconds,
           (unsigned long long)run.window, (unsigned long long)run.senders[1].total,
           (unsigned long long)run.receiver.frames, (unsigned long long)run.receiver.bytes,
           (unsigned long long)run.receiver.out_of_order, (unsigned long long)run.receiver.wrong,
           stalled ? "true" : "false", (unsigned long long)run.receiver.digest, right ? "true" : "false");
    return right ? 0 : 1;
}
