/* SPDX-License-Identifier: Apache-2.0
 * The workloads of the benchmark: what the primary and the secondary replica send.
 *
 * A side's frames are built once, as one lap held in memory with the framing of QEMU's socket devices in front of each
 * (u32 length, and with virtio-net headers a second u32). The lap is sent over and over; before each sending only the
 * places that differ from lap to lap are written: TCP's sequence number or a UDP counter, and the checksum.
 */
#ifndef COLOPROXY_BENCH_WORKLOAD_H
#define COLOPROXY_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TCP = 6, UDP = 17 };

struct shape {
    const char *name;
    const char *title;
    int protocol;
    uint32_t connections;
    uint32_t cut[2];       /* payload bytes a frame, primary and secondary */
    uint32_t rounds;       /* payload bytes a connection sends in one lap, divided by cut[0] */
    bool permuted;         /* the secondary serves its connections in another order each round */
    bool disturbed;        /* 2 % of the secondary's segments out of order or sent again */
    uint32_t vnet_len;     /* length of the virtio-net header; 0: none, and no second u32 */
    uint64_t frames;       /* primary's frames in a full run */
    uint32_t window;       /* primary's frames that may be on their way through the proxy */
};

struct entry {
    uint32_t at;           /* where the framed bytes begin in the lap */
    uint32_t length;       /* of the framed bytes */
    uint32_t connection;
    uint32_t size;         /* payload bytes */
    uint64_t offset;       /* place of the payload in the connection's bytes of one lap */
    uint32_t sum;          /* checksum of all that stays the same */
    bool opening;          /* SYN-ACK */
};

struct side {
    uint8_t *bytes;
    size_t length;
    struct entry *entries;
    size_t count;
};

struct workload {
    const struct shape *shape;
    uint8_t *pool;         /* what the payloads are cut from */
    uint64_t period;       /* payload bytes of one connection in one lap */
    struct side opening[2];
    struct side lap[2];
};

const struct shape *find_shape(const char *name);
void list_shapes(void); /* name, frames and title of each, a line each */
void build_workload(struct workload *w, const struct shape *shape);

/* Write what differs from lap to lap into entry `e`. */
void patch(const struct workload *w, struct side *side, const struct entry *e, uint64_t lap);

uint32_t initial_sequence(uint32_t connection);
uint32_t connection_of_port(uint16_t port);
const uint8_t *expected_payload(const struct workload *w, uint32_t connection, uint64_t offset);

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }
static inline void put16(uint8_t *p, uint16_t v) { p[0] = v >> 8, p[1] = v & 0xff; }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16), put16(p + 2, v & 0xffff); }
static inline void put64(uint8_t *p, uint64_t v) { put32(p, v >> 32), put32(p + 4, (uint32_t)v); }

#endif
