// A judge that costs nothing: an OpenAI-compatible chat endpoint on loopback, for measuring its clients.
//
//     cc -O2 -o mock_endpoint mock_endpoint.c -lm && ./mock_endpoint [DELAY_MS]
//
// Prints its port, then answers each POST after DELAY_MS (20) with one token and the logprobs of "m" and "M", and
// GET /stats with {"requests", "connections", "most_in_flight"}. One thread, one epoll loop; every request waits
// equally long, so the timer queue is a ring in order of arrival.

#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int fd;
    int waiting;     // a reply is due: the connection outlives its socket until then
    int closed;
    uint64_t hash;   // of the request's body: the same request always gets the same logprobs
    char *bytes;     // received and not yet answered
    size_t count, capacity;
} Connection;

typedef struct { Connection *connection; int64_t due; } Reply;

enum { largestHead = 64 << 10, ringSize = 1 << 16, eventsAtOnce = 256 };

static Reply ring[ringSize];   // due replies, oldest at `head`
static uint64_t head, tail;
static int64_t delay = 20000000;   // nanoseconds
static int poller, timer;
static uint64_t requests, connections, mostInFlight;

static void acceptAll(int listener);
static void receive(Connection *c);
static void answer(Connection *c);
static void answerDue(void);
static int listenOnLoopback(void);
static void watch(int fd, void *tag);
static int64_t now(void);
static void fail(const char *what);

int main(int count, char **arguments) {
    if (count > 1) delay = (int64_t)(atof(arguments[1]) * 1e6);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listenOnLoopback();
    watch(listener, &listener);
    watch(timer, &timer);
    struct epoll_event events[eventsAtOnce];
    for (;;) {
        int ready = epoll_wait(poller, events, eventsAtOnce, -1);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        int timerFired = 0;
        for (int i = 0; i < ready; i++) {
            void *tag = events[i].data.ptr;
            if (tag == &listener) acceptAll(listener);
            else if (tag == &timer) timerFired = 1;
            else receive(tag);
        }
        // After the sockets: a reply may free its connection, which an event of this round may still name.
        if (timerFired) answerDue();
    }
}

static void acceptAll(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        connections++;
        watch(fd, c);
    }
}

static void release(Connection *c) {
    free(c->bytes);
    free(c);
}

static void hangUp(Connection *c) {
    if (!c->closed) close(c->fd);
    c->closed = 1;
    if (!c->waiting) release(c);
}

static void receive(Connection *c) {
    for (;;) {
        if (c->capacity - c->count < largestHead) c->bytes = realloc(c->bytes, c->capacity = 2 * c->capacity + largestHead);
        size_t room = c->capacity - c->count - 1;
        ssize_t got = recv(c->fd, c->bytes + c->count, room, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) { hangUp(c); return; }
        c->count += (size_t)got;
        if ((size_t)got < room) break;
    }
    if (!c->waiting) answer(c);
}

static void arm(int64_t due) {
    struct itimerspec at = {.it_value = {due / 1000000000, due % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void replyLater(Connection *c) {
    if (tail - head == ringSize) fail("too many requests in flight");
    c->waiting = 1;
    ring[tail++ % ringSize] = (Reply){c, now() + delay};
    if (tail - head > mostInFlight) mostInFlight = tail - head;
    if (tail - head == 1) arm(ring[head % ringSize].due);
}

/// Sends a reply, or hangs up: one that does not fit the socket's buffer has no reader.
static int respond(Connection *c, const char *json, int length) {
    char message[4096];
    int size = snprintf(message, sizeof message,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", length, json);
    if (send(c->fd, message, (size_t)size, 0) == size) return 1;
    hangUp(c);
    return 0;
}

static const char *headerValue(const char *bytes, const char *name) {
    const char *line = strcasestr(bytes, name);
    return line ? line + strlen(name) : NULL;
}

/// Takes whole requests off the front of what was received; stops at one that must wait.
static void answer(Connection *c) {
    while (c->count > 0) {
        c->bytes[c->count] = 0;
        char *end = memmem(c->bytes, c->count, "\r\n\r\n", 4);
        if (!end) return;
        end[2] = 0;   // the head alone, as a string
        const char *length = headerValue(c->bytes, "\r\ncontent-length:");
        int expects = headerValue(c->bytes, "\r\nexpect: 100-continue") != NULL;
        end[2] = '\r';
        char *body = end + 4;
        size_t bodySize = length ? strtoul(length, NULL, 10) : 0, size = (size_t)(body - c->bytes) + bodySize;
        if (c->count < size) {
            if (expects && c->bytes + c->count == body) send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0);
            return;
        }
        int isPost = !strncmp(c->bytes, "POST ", 5);
        if (isPost && !length) { hangUp(c); return; }   // a chunked body, say
        c->hash = 14695981039346656037u;   // FNV-1a
        for (size_t i = 0; i < bodySize; i++) c->hash = (c->hash ^ (uint8_t)body[i]) * 1099511628211u;
        memmove(c->bytes, c->bytes + size, c->count -= size);
        if (isPost) {
            requests++;
            replyLater(c);
            return;
        }
        char json[160];
        int written = snprintf(json, sizeof json, "{\"requests\": %lu, \"connections\": %lu, \"most_in_flight\": %lu}\n",
            (unsigned long)requests, (unsigned long)connections, (unsigned long)mostInFlight);
        if (!respond(c, json, written)) return;
    }
}

static int completion(uint64_t hash, char *json, size_t capacity) {
    double p = 0.01 + 0.98 * (double)(hash % 10007) / 10007;
    double m = log(p) - 1e-4, M = log(1 - p) - 1e-4;
    const char *first = m > M ? "m" : "M", *second = m > M ? "M" : "m";
    double most = m > M ? m : M, least = m > M ? M : m;
    return snprintf(json, capacity,
        "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[{"
        "\"index\":0,\"finish_reason\":\"length\",\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
        "\"logprobs\":{\"content\":[{\"token\":\"%s\",\"logprob\":%.12f,\"bytes\":[%d],\"top_logprobs\":["
        "{\"token\":\"%s\",\"logprob\":%.12f,\"bytes\":[%d]},{\"token\":\"%s\",\"logprob\":%.12f,\"bytes\":[%d]},"
        "{\"token\":\"Both\",\"logprob\":-12.5,\"bytes\":null},{\"token\":\"The\",\"logprob\":-13.25,\"bytes\":null},"
        "{\"token\":\"Based\",\"logprob\":-14.0,\"bytes\":null}]}]}}],"
        "\"usage\":{\"prompt_tokens\":400,\"completion_tokens\":1,\"total_tokens\":401}}",
        first, first, most, first[0], first, most, first[0], second, least, second[0]);
}

static void answerDue(void) {
    uint64_t ignored;
    if (read(timer, &ignored, sizeof ignored) < 0) return;
    while (head != tail && ring[head % ringSize].due <= now()) {
        Connection *c = ring[head++ % ringSize].connection;
        c->waiting = 0;
        if (c->closed) { release(c); continue; }
        char json[2048];
        int written = completion(c->hash, json, sizeof json);
        if (respond(c, json, written)) answer(c);
    }
    if (head != tail) arm(ring[head % ringSize].due);
}

static int listenOnLoopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (void *)&address, size) || listen(fd, 4096) || getsockname(fd, (void *)&address, &size))
        fail("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int fd, void *tag) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = tag};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}
