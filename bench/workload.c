/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ETHERNET = 14, IPV4 = 20, TCP_HEADER = 20, UDP_HEADER = 8, SYN_OPTIONS = 4, FIRST_PORT = 20000 };
enum { ACK = 0x10, PSH_ACK = 0x18, SYN_ACK = 0x12, NEEDS_CSUM = 1, GSO_TCPV4 = 1, MSS = 1460 };

static const struct shape SHAPES[] = {
    {"W1", "one TCP connection, 1460-byte payloads", TCP, 1, {1460, 1460}, 1000, false, false, 0, 500000, 1024},
    {"W2", "cut at 1000 and at 1460 bytes", TCP, 1, {1000, 1460}, 1460, false, false, 0, 500000, 1024},
    {"W3", "64-byte payloads, 1000 connections", TCP, 1000, {64, 64}, 16, true, false, 0, 1000000, 4096},
    {"W4", "UDP, 200 bytes, 100 flows", UDP, 100, {200, 200}, 100, false, false, 0, 500000, 2048},
    {"W5", "60000-byte frames, virtio headers", TCP, 1, {59946, 59946}, 32, false, false, 12, 32000, 32},
    {"W6", "W1, 2 % of the secondary's disturbed", TCP, 1, {1460, 1460}, 1000, false, true, 0, 500000, 1024},
};

static void *allocate(size_t size)
{
    void *p = calloc(1, size);

    if (p == NULL) {
        fprintf(stderr, "generator: no memory for %zu bytes\n", size);
        exit(2);
    }
    return p;
}

/* Marsaglia's xorshift64: the same bytes in every run. */
static uint64_t random64(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

const struct shape *find_shape(const char *name)
{
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        if (strcmp(SHAPES[i].name, name) == 0) {
            return &SHAPES[i];
        }
    }
    return NULL;
}

void list_shapes(void)
{
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        printf("%s %llu %s\n", SHAPES[i].name, (unsigned long long)SHAPES[i].frames, SHAPES[i].title);
    }
}

/* Close to the end of the number space, so that a long run passes it. */
uint32_t initial_sequence(uint32_t connection) { return 0xf0000000u + connection * 7919u; }

uint32_t connection_of_port(uint16_t port) { return (uint32_t)port - FIRST_PORT; }

const uint8_t *expected_payload(const struct workload *w, uint32_t connection, uint64_t offset)
{
    return w->pool + connection * 2 + offset % w->period;
}

/* Sum of 16-bit words (RFC 1071), not complemented; `p` counts from an even place. */
static uint32_t add_words(uint32_t sum, const uint8_t *p, size_t length)
{
    uint64_t total = sum;

    for (; length > 1; p += 2, length -= 2) {
        total += get16(p);
    }
    if (length) {
        total += (uint32_t)p[0] << 8;
    }
    while (total >> 16) {
        total = (total & 0xffff) + (total >> 16);
    }
    return (uint32_t)total;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void write_ipv4(uint8_t *ip, const struct workload *w, uint32_t connection, size_t payload, uint16_t ident)
{
    ip[0] = 0x45;
    put16(ip + 2, (uint16_t)(IPV4 + payload));
    put16(ip + 4, ident);
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = (uint8_t)w->shape->protocol;
    put32(ip + 12, 0x0a000002);
    put32(ip + 16, 0x0a010000 + 1 + connection % 250);
    put16(ip + 10, (uint16_t)~add_words(0, ip, IPV4));
}

static void write_vnet(uint8_t *vnet)
{
    vnet[0] = NEEDS_CSUM;
    vnet[1] = GSO_TCPV4;
    vnet[2] = ETHERNET + IPV4 + TCP_HEADER;
    vnet[4] = MSS & 0xff;
    vnet[5] = MSS >> 8;
    vnet[6] = ETHERNET + IPV4;
    vnet[8] = 16; /* of the checksum in a TCP header */
}

/* Append one frame to a side. */
static void append(struct workload *w, struct side *side, uint32_t connection, uint64_t offset, uint32_t size,
                   bool opening, bool secondary)
{
    const struct shape *shape = w->shape;
    size_t framing = shape->vnet_len ? 8 : 4;
    size_t header = shape->protocol == UDP ? UDP_HEADER : TCP_HEADER + (opening ? SYN_OPTIONS : 0);
    size_t length = shape->vnet_len + ETHERNET + IPV4 + header + size;
    struct entry *e = &side->entries[side->count++];
    uint8_t *frame = side->bytes + side->length, *ether, *ip, *l4;
    uint32_t sum;

    *e = (struct entry){(uint32_t)side->length, (uint32_t)(framing + length), connection, size, offset, 0, opening};
    side->length += e->length;
    put32(frame, (uint32_t)length);
    if (shape->vnet_len) {
        put32(frame + 4, shape->vnet_len);
        if (!opening) {
            write_vnet(frame + framing);
        }
    }
    ether = frame + framing + shape->vnet_len;
    memcpy(ether, "\x52\x54\x00\xaa\xbb\xcc\x52\x54\x00\x12\x34\x56\x08\x00", ETHERNET);
    ip = ether + ETHERNET;
    l4 = ip + IPV4;
    write_ipv4(ip, w, connection, header + size, (uint16_t)(side->count + (secondary ? 0x5000 : 0)));
    put16(l4, 5001);
    put16(l4 + 2, (uint16_t)(FIRST_PORT + connection));
    memcpy(l4 + header, expected_payload(w, connection, offset), size);
    sum = add_words((uint32_t)(shape->protocol + header + size), ip + 12, 8);
    if (shape->protocol == UDP) {
        put16(l4 + 4, (uint16_t)(header + size));
        memset(l4 + header, 0, 8);
        e->sum = add_words(sum, l4, header + size);
        return;
    }
    put32(l4 + 8, 1);
    l4[12] = (uint8_t)(header / 4 << 4);
    l4[13] = opening ? SYN_ACK : PSH_ACK;
    put16(l4 + 14, 64240);
    if (opening) {
        memcpy(l4 + TCP_HEADER, "\x02\x04\x05\xb4", SYN_OPTIONS);
    }
    if (shape->vnet_len && !opening) {
        put16(l4 + 16, fold(sum)); /* NEEDS_CSUM: of the pseudo-header, the same in every lap */
    } else {
        e->sum = add_words(sum, l4, header + size);
    }
}

void patch(const struct workload *w, struct side *side, const struct entry *e, uint64_t lap)
{
    const struct shape *shape = w->shape;
    uint8_t *l4 = side->bytes + e->at + (shape->vnet_len ? 8 : 4) + shape->vnet_len + ETHERNET + IPV4;

    if (shape->protocol == UDP) {
        uint64_t counter = lap * shape->rounds + e->offset / e->size;
        uint16_t checksum;

        put64(l4 + UDP_HEADER, counter);
        checksum = (uint16_t)~fold(e->sum + (uint32_t)(counter >> 48) + (counter >> 32 & 0xffff) +
                                   (counter >> 16 & 0xffff) + (counter & 0xffff));
        put16(l4 + 6, checksum ? checksum : 0xffff);
        return;
    }
    uint32_t first = initial_sequence(e->connection);
    uint32_t sequence = e->opening ? first : first + 1 + (uint32_t)(lap * w->period + e->offset);

    put32(l4 + 4, sequence);
    if (shape->vnet_len == 0 || e->opening) {
        put16(l4 + 16, (uint16_t)~fold(e->sum + (sequence >> 16) + (sequence & 0xffff)));
    }
}

static void reserve(struct side *side, const struct shape *shape, size_t frames, uint32_t size)
{
    side->entries = allocate(frames * sizeof *side->entries);
    side->bytes = allocate(frames * (8 + shape->vnet_len + ETHERNET + IPV4 + TCP_HEADER + SYN_OPTIONS + size));
}

static void shuffle(uint32_t *order, uint32_t count, uint64_t *state)
{
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(random64(state) % (i + 1)), other = order[i];

        order[i] = order[j];
        order[j] = other;
    }
}

/* One lap of the secondary's with one segment in a hundred late by one, another sent again three segments later. */
static void build_disturbed(struct workload *w, struct side *side, size_t frames, uint32_t cut)
{
    for (size_t i = 0; i < frames; i++) {
        if (i % 100 == 50 && i + 1 < frames) {
            append(w, side, 0, (uint64_t)(i + 1) * cut, cut, false, true);
            append(w, side, 0, (uint64_t)i * cut, cut, false, true);
            i++;
            continue;
        }
        append(w, side, 0, (uint64_t)i * cut, cut, false, true);
        if (i % 100 == 3) {
            append(w, side, 0, (uint64_t)(i - 3) * cut, cut, false, true);
        }
    }
}

static void build_lap(struct workload *w, int which)
{
    const struct shape *shape = w->shape;
    struct side *side = &w->lap[which];
    uint32_t cut = shape->cut[which], *order = allocate(shape->connections * sizeof *order);
    size_t rounds = (size_t)(w->period / cut);
    uint64_t state = 88172645463325252ull;

    reserve(side, shape, rounds * shape->connections * 2, cut);
    for (uint32_t c = 0; c < shape->connections; c++) {
        order[c] = c;
    }
    if (which == 1 && shape->disturbed) {
        build_disturbed(w, side, rounds, cut);
    } else {
        for (size_t round = 0; round < rounds; round++) {
            if (which == 1 && shape->permuted) {
                shuffle(order, shape->connections, &state);
            }
            for (uint32_t c = 0; c < shape->connections; c++) {
                append(w, side, order[c], round * cut, cut, false, which == 1);
            }
        }
    }
    free(order);
}

void build_workload(struct workload *w, const struct shape *shape)
{
    uint64_t state = 2463534242ull;
    size_t pool;

    memset(w, 0, sizeof *w);
    w->shape = shape;
    w->period = (uint64_t)shape->rounds * shape->cut[0];
    pool = w->period + shape->connections * 2 + 16;
    w->pool = allocate(pool);
    for (size_t i = 0; i + 8 <= pool; i += 8) {
        put64(w->pool + i, random64(&state));
    }
    for (int which = 0; which < 2; which++) {
        if (shape->protocol == TCP) {
            reserve(&w->opening[which], shape, shape->connections, 0);
            for (uint32_t c = 0; c < shape->connections; c++) {
                append(w, &w->opening[which], c, 0, 0, true, which == 1);
            }
        }
        build_lap(w, which);
    }
}
