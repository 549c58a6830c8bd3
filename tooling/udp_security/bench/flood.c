/* SPDX-FileCopyrightText: © 2026 udp-security contributors
 * SPDX-License-Identifier: MIT
 *
 * Sends UDP packets over IPv4 as fast as one processor can, and times it.
 *
 *     flood CPU fixed|random ADDRESS PORT
 *
 * Each line of standard input is a burst's length in ns. After it a line is printed:
 *
 *     PACKETS ELAPSED_NS CPU_NS NS_PER_PACKET
 *
 * A packet's way through veth devices and a router's hooks is walked by the sender itself, so the
 * time of a send is the packet's whole cost. NS_PER_PACKET is the median over sends of BATCH packets,
 * by the wall clock: unlike CPU_NS it holds where the kernel keeps softirqs out of a thread's time,
 * and unlike ELAPSED_NS it does not contain what else the processor did.
 *
 * random: each packet comes from another source address (10.128.0.0/9) and port, by a raw socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, PAYLOAD = 32, TIMES = 1 << 18 };

struct packet {
    struct iphdr ip;
    struct udphdr udp;
    char payload[PAYLOAD];
} __attribute__((packed));

static struct packet packets[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];
static uint32_t times[TIMES];

static void die(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t chance(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void forge(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint64_t r = chance();

        packets[i].ip.saddr = htonl(0x0a800000 | (r & 0x007fffff));
        packets[i].udp.source = htons((uint16_t)(1024 + (r >> 32) % 64512));
    }
}

static void burst(int fd, int forged, uint64_t length)
{
    uint64_t sent = 0, start = now(CLOCK_MONOTONIC), end = start, cpu = now(CLOCK_THREAD_CPUTIME_ID);
    size_t n = 0;

    do {
        uint64_t began = end;
        int count;

        if (forged)
            forge();
        /* The receiver's ICMP errors, and a full queue, are not this program's business. */
        do
            count = sendmmsg(fd, messages, BATCH, 0);
        while (count < 0 && (errno == ECONNREFUSED || errno == EPERM || errno == ENOBUFS));
        if (count < 0)
            die("sendmmsg");
        sent += (uint64_t)count;
        end = now(CLOCK_MONOTONIC);
        if (count == BATCH && n < TIMES)
            times[n++] = (uint32_t)(end - began);
    } while (end - start < length);
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    qsort(times, n, sizeof *times, by_size);
    printf("%llu %llu %llu %.2f\n", (unsigned long long)sent, (unsigned long long)(end - start),
           (unsigned long long)cpu, n ? (double)times[n / 2] / BATCH : 0.0);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    unsigned long long length;
    cpu_set_t cpus;
    int fd, forged;

    if (argc != 5 || !inet_aton(argv[3], &to.sin_addr)) {
        fprintf(stderr, "usage: flood CPU fixed|random ADDRESS PORT\n");
        return 2;
    }
    forged = !strcmp(argv[2], "random");
    to.sin_port = htons((uint16_t)atoi(argv[4]));
    CPU_ZERO(&cpus);
    CPU_SET(atoi(argv[1]), &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        die("sched_setaffinity");
    fd = forged ? socket(AF_INET, SOCK_RAW, IPPROTO_RAW) : socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        die("socket");
    for (int i = 0; i < BATCH; i++) {
        packets[i].ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
                                       .tot_len = htons(sizeof *packets), .daddr = to.sin_addr.s_addr};
        packets[i].udp = (struct udphdr){.dest = to.sin_port, .len = htons(8 + PAYLOAD)};
        vectors[i].iov_base = forged ? (void *)&packets[i] : packets[i].payload;
        vectors[i].iov_len = forged ? sizeof *packets : PAYLOAD;
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    while (scanf("%llu", &length) == 1)
        burst(fd, forged, length);
    return 0;
}
