/* The floor: what the kernel charges for moving WebSocket messages, and nothing else.
 *
 *     floor PORT echo          sends every message back
 *     floor PORT rooms         join_room and chat_message, one send for each delivery
 *     floor PORT rooms-batch   the same, but what one turn of the loop brought goes out in one send per member
 *
 * One thread, one epoll, level-triggered: one recv for each readable event, frames unmasked where they lie, one send.
 * It is a yardstick and no server: it believes what it reads, keeps no queues (it waits for a full socket), knows no
 * limits and no timeouts. Speaks just enough of the native protocol to be driven by roomcast-loadtest.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 1 << 16, LONG = BUFFER / 2, FRAME_HEAD = 10, ROOM_NAME = 64, ROOM_SLOTS = 1 << 14 };

enum mode { ECHO, ROOMS, ROOMS_BATCH };

/* Bytes that grow. */
struct bytes {
    unsigned char *at;
    size_t len, room;
};

/* A connection, by its descriptor. */
struct peer {
    int open;         /* the handshake is done */
    struct bytes rest; /* the beginning of a frame whose end has not come; freed when it has, unless it is long */
    size_t need;       /* bytes of the frame longer than LONG that is gathered in `rest`; 0 = none is */
};

struct room {
    char name[ROOM_NAME];
    size_t name_len;
    int *members;
    size_t count, capacity;
    struct bytes owed; /* rooms-batch: what each member gets at the end of the turn */
    struct room *next_owing;
    int owing;
};

static enum mode mode;
static int epoll;
static struct peer *peers;
static size_t peers_max;
static struct room *rooms[ROOM_SLOTS];
static struct room *owing;
static unsigned char in[BUFFER + 64], out[BUFFER + 64];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static unsigned char *reserve(struct bytes *b, size_t more) {
    if (b->len + more > b->room) {
        b->room = (b->len + more) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) die("realloc");
    }
    return b->at + b->len;
}

/* Sends all of it; where the socket is full, waits. */
static void deliver(int fd, const unsigned char *at, size_t len) {
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN) return;
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            if (poll(&wait, 1, 2000) <= 0) return;
            continue;
        }
        at += sent;
        len -= (size_t)sent;
    }
}

static size_t frame_head(unsigned char *to, unsigned first, size_t len) {
    to[0] = (unsigned char)first;
    if (len < 126) {
        to[1] = (unsigned char)len;
        return 2;
    }
    int width = len < 65536 ? 2 : 8;
    to[1] = width == 2 ? 126 : 127;
    for (int i = 0; i < width; i++) to[2 + i] = (unsigned char)(len >> (8 * (width - 1 - i)));
    return 2 + (size_t)width;
}

/* XORs `len` bytes from `from` to `to` (which may be the same) with the four bytes of `key`. */
static void unmask(unsigned char *to, const unsigned char *from, size_t len, uint32_t key) {
    uint64_t wide = (uint64_t)key << 32 | key, word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++) to[i] = (unsigned char)(from[i] ^ (wide >> (8 * (i & 7)) & 255));
}

/* --- The handshake ------------------------------------------------------------------------------------------- */

static uint32_t left(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* SHA-1 of at most 119 bytes: two blocks. */
static void sha1(const char *text, size_t len, unsigned char digest[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char block[128] = {0};
    memcpy(block, text, len);
    block[len] = 0x80;
    size_t total = len + 9 <= 64 ? 64 : 128;
    block[total - 2] = (unsigned char)(len * 8 >> 8);
    block[total - 1] = (unsigned char)(len * 8);
    for (size_t start = 0; start < total; start += 64) {
        uint32_t word[80], v[5];
        for (size_t t = 0; t < 16; t++) {
            memcpy(&word[t], block + start + 4 * t, 4);
            word[t] = ntohl(word[t]);
        }
        for (int t = 16; t < 80; t++) word[t] = left(word[t - 3] ^ word[t - 8] ^ word[t - 14] ^ word[t - 16], 1);
        memcpy(v, state, sizeof v);
        for (int t = 0; t < 80; t++) {
            uint32_t mix, constant;
            switch (t / 20) {
            case 0: mix = (v[1] & v[2]) | (~v[1] & v[3]), constant = 0x5a827999; break;
            case 1: mix = v[1] ^ v[2] ^ v[3], constant = 0x6ed9eba1; break;
            case 2: mix = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]), constant = 0x8f1bbcdc; break;
            default: mix = v[1] ^ v[2] ^ v[3], constant = 0xca62c1d6;
            }
            uint32_t next = left(v[0], 5) + mix + v[4] + constant + word[t];
            v[4] = v[3], v[3] = v[2], v[2] = left(v[1], 30), v[1] = v[0], v[0] = next;
        }
        for (int i = 0; i < 5; i++) state[i] += v[i];
    }
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* 20 bytes are 28 characters. */
static void base64(const unsigned char digest[20], char text[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        unsigned three = (unsigned)padded[3 * i] << 16 | (unsigned)padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++) text[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static int upgrade(int fd, size_t len) {
    in[len] = 0;
    char *key = strcasestr((char *)in, "\r\nsec-websocket-key:");
    if (!key) return 0;
    key += strlen("\r\nsec-websocket-key:");
    key += strspn(key, " ");
    char joined[64 + 36], accept[29], answer[256];
    size_t key_len = strcspn(key, " \r\n");
    if (key_len > 64) return 0;
    memcpy(joined, key, key_len);
    memcpy(joined + key_len, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    unsigned char digest[20];
    sha1(joined, key_len + 36, digest);
    base64(digest, accept);
    int answer_len = snprintf(answer, sizeof answer,
                              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: %s\r\n\r\n",
                              accept);
    deliver(fd, (unsigned char *)answer, (size_t)answer_len);
    return 1;
}

/* --- Rooms --------------------------------------------------------------------------------------------------- */

/* The string after `name` (which ends in a quote); it ends at a quote that no backslash precedes. */
static const char *string_after(const char *text, size_t len, const char *name, size_t *found_len) {
    const char *found = memmem(text, len, name, strlen(name));
    if (!found) return NULL;
    found += strlen(name);
    const char *end = found;
    do {
        end = memchr(end, '"', (size_t)(text + len - end));
        if (!end) return NULL;
    } while (*(end++ - 1) == '\\');
    *found_len = (size_t)(end - 1 - found);
    return found;
}

static struct room *room_of(const char *name, size_t len) {
    if (len >= ROOM_NAME) return NULL;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    for (size_t probe = 0; probe < ROOM_SLOTS; probe++) {
        struct room **slot = &rooms[(hash + probe) % ROOM_SLOTS];
        if (!*slot) {
            *slot = calloc(1, sizeof **slot);
            if (!*slot) die("calloc");
            memcpy((*slot)->name, name, len);
            (*slot)->name_len = len;
            return *slot;
        }
        if ((*slot)->name_len == len && !memcmp((*slot)->name, name, len)) return *slot;
    }
    return NULL;
}

static void join(struct room *room, int fd) {
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? room->capacity * 2 : 8;
        room->members = realloc(room->members, room->capacity * sizeof(int));
        if (!room->members) die("realloc");
    }
    room->members[room->count++] = fd;
    unsigned char frame[256];
    int len = snprintf((char *)frame + 4, sizeof frame - 4,
                       "{\"type\":\"room_joined\",\"room\":\"%s\",\"members_count\":%zu}", room->name, room->count);
    unsigned char head[FRAME_HEAD];
    size_t head_len = frame_head(head, 0x81, (size_t)len);
    memcpy(frame + 4 - head_len, head, head_len);
    deliver(fd, frame + 4 - head_len, head_len + (size_t)len);
}

/* What a real server writes into a message, too. The date's text is made once a second. */
static const char *timestamp(void) {
    static char text[40];
    static time_t second;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        struct tm parts;
        gmtime_r(&now.tv_sec, &parts);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
        second = now.tv_sec;
    }
    unsigned milli = (unsigned)(now.tv_nsec / 1000000);
    for (int i = 22; i > 19; i--, milli /= 10) text[i] = (char)('0' + milli % 10);
    return text;
}

#define PUT(text, n) (memcpy(to, text, n), to += (n))
#define PUT_TEXT(literal) PUT(literal, sizeof(literal) - 1)

static void publish(struct room *room, const char *payload, size_t len) {
    static struct bytes built;
    built.len = 0;
    unsigned char *start = reserve(&built, len + 256) + FRAME_HEAD, *to = start;
    PUT_TEXT("{\"type\":\"chat_message\",\"room\":\"");
    PUT(room->name, room->name_len);
    PUT_TEXT("\",\"user_id\":\"u\",\"message\":\"");
    PUT(payload, len);
    PUT_TEXT("\",\"timestamp\":\"");
    PUT(timestamp(), 24);
    PUT_TEXT("\"}");
    unsigned char head[FRAME_HEAD];
    size_t text_len = (size_t)(to - start), head_len = frame_head(head, 0x81, text_len);
    unsigned char *frame = start - head_len;
    memcpy(frame, head, head_len);
    if (mode == ROOMS) {
        for (size_t i = 0; i < room->count; i++) deliver(room->members[i], frame, head_len + text_len);
        return;
    }
    memcpy(reserve(&room->owed, head_len + text_len), frame, head_len + text_len);
    room->owed.len += head_len + text_len;
    if (!room->owing) {
        room->owing = 1;
        room->next_owing = owing;
        owing = room;
    }
}

static void deliver_owed(void) {
    for (; owing; owing = owing->next_owing) {
        for (size_t i = 0; i < owing->count; i++) deliver(owing->members[i], owing->owed.at, owing->owed.len);
        owing->owed.len = 0;
        owing->owing = 0;
    }
}

static void understand(int fd, const char *text, size_t len) {
    size_t name_len, payload_len;
    const char *name = string_after(text, len, "\"room\":\"", &name_len);
    struct room *room = name ? room_of(name, name_len) : NULL;
    if (!room) return;
    const char *payload = string_after(text, len, "\"message\":\"", &payload_len);
    if (payload) publish(room, payload, payload_len);
    else if (memmem(text, len, "join_room", 9)) join(room, fd);
}

/* --- Connections --------------------------------------------------------------------------------------------- */

static void hang_up(int fd) {
    for (size_t i = 0; mode != ECHO && i < ROOM_SLOTS; i++) {
        struct room *room = rooms[i];
        for (size_t j = 0; room && j < room->count; j++)
            if (room->members[j] == fd) room->members[j--] = room->members[--room->count];
    }
    free(peers[fd].rest.at);
    peers[fd] = (struct peer){0};
    close(fd);
}

/* How many bytes a frame has, and how many of them are payload; 0 as long as its head is not whole. */
static size_t frame_len(const unsigned char *at, size_t len, size_t *payload) {
    if (len < 6) return 0;
    *payload = at[1] & 127;
    if (*payload < 126) return 6 + *payload;
    size_t width = *payload == 126 ? 2 : 8;
    if (len < 2 + width + 4) return 0;
    *payload = 0;
    for (size_t i = 0; i < width; i++) *payload = *payload << 8 | at[2 + i];
    return 2 + width + 4 + *payload;
}

/* Handles one frame; how many bytes it had, or 0 if there is no whole one. */
static size_t take_frame(int fd, unsigned char *at, size_t len, unsigned char **answer, int *is_over) {
    size_t payload, whole = frame_len(at, len, &payload);
    if (whole == 0 || len < whole) return 0;
    unsigned char *data = at + whole - payload;
    uint32_t key;
    memcpy(&key, data - 4, 4);
    unsigned opcode = at[0] & 15;
    if (opcode == 8) {
        static const unsigned char farewell[2] = {0x88, 0};
        deliver(fd, farewell, 2);
        *is_over = 1;
    } else if (opcode >= 8) {
        /* Nobody pings the floor. */
    } else if (mode == ECHO) {
        *answer += frame_head(*answer, 0x80 | opcode, payload);
        unmask(*answer, data, payload, key);
        *answer += payload;
    } else {
        unmask(data, data, payload, key);
        understand(fd, (char *)data, payload);
    }
    return whole;
}

static void readable(int fd) {
    struct peer *peer = &peers[fd];
    struct bytes *rest = &peer->rest;
    unsigned char *at = in, *answer = out;
    size_t have = rest->len, room = BUFFER - have;
    if (peer->need) {
        /* A long frame is gathered, unmasked and answered where it lies: our head is its own without the key. */
        at = rest->at;
        answer = at + 4;
        room = peer->need - have;
    } else if (have > 0) {
        memcpy(in, rest->at, have);
    }
    const unsigned char *answer_start = answer;
    ssize_t got = recv(fd, at + have, room, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) hang_up(fd);
        return;
    }
    if (!peer->open) {
        if (upgrade(fd, (size_t)got)) peer->open = 1;
        else hang_up(fd);
        return;
    }
    size_t len = have + (size_t)got, used = 0, frame, payload;
    if (len < peer->need) {
        rest->len = len;
        return;
    }
    int is_over = 0;
    while (!is_over && (frame = take_frame(fd, at + used, len - used, &answer, &is_over)) > 0) used += frame;
    if (answer > answer_start) deliver(fd, answer_start, (size_t)(answer - answer_start));
    if (is_over) {
        hang_up(fd);
        return;
    }
    rest->len = 0;
    if (used < len) {
        frame = frame_len(at + used, len - used, &payload);
        peer->need = frame > LONG ? frame : 0;
        memcpy(reserve(rest, peer->need ? peer->need : len - used), at + used, len - used);
        rest->len = len - used;
    } else if (peer->need) {
        peer->need = 0;
    } else {
        free(rest->at);
        *rest = (struct bytes){0};
    }
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if ((size_t)fd >= peers_max) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT echo|rooms|rooms-batch\n");
        return 2;
    }
    mode = !strcmp(argv[2], "echo") ? ECHO : !strcmp(argv[2], "rooms") ? ROOMS : ROOMS_BATCH;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    peers_max = files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20;
    peers = calloc(peers_max, sizeof *peers);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!peers || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) die("listen");
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) accept_all(listener);
            else readable(events[i].data.fd);
        }
        deliver_owed();
    }
}
