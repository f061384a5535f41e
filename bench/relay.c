/* SPDX-License-Identifier: Apache-2.0
 * The limit: copies the primary's bytes to the output, throws the secondary's away and compares nothing. It asks the
 * kernel for the same socket buffers as coloproxy and reads as much at once, so that all that is left out is comparing.
 *
 *   relay PRIMARY SECONDARY OUTPUT        listens on three unix sockets, one peer each, until it is ended
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PRIMARY, SECONDARY, OUTPUT, CHUNK = 512 << 10, SOCKET_BUFFER = 1 << 20 };

static void fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path) {
        fail(path);
    }
    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0) {
        fail(path);
    }
    return fd;
}

/* Read one chunk: its length, 0 when there is nothing now, -1 at the end. */
static ssize_t receive(int fd, char *to)
{
    ssize_t n = recv(fd, to, CHUNK, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return n > 0 ? n : -1;
}

int main(int argc, char **argv)
{
    static char forward[CHUNK], waste[CHUNK];
    size_t from = 0, to = 0;
    int fds[3];

    if (argc != 4) {
        fprintf(stderr, "usage: relay PRIMARY SECONDARY OUTPUT\n");
        return 2;
    }
    for (int i = 0; i < 3; i++) {
        fds[i] = listen_on(argv[i + 1]);
    }
    for (int i = 0; i < 3; i++) {
        int peer = accept(fds[i], NULL, NULL), size = SOCKET_BUFFER;

        if (peer < 0 || setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) < 0 ||
            setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0) {
            fail(argv[i + 1]);
        }
        close(fds[i]);
        fds[i] = peer;
    }
    for (;;) {
        struct pollfd ready[3] = {
            {from == to ? fds[PRIMARY] : -1, POLLIN, 0},
            {fds[SECONDARY], POLLIN, 0},
            {from == to ? -1 : fds[OUTPUT], POLLOUT, 0},
        };

        if (poll(ready, 3, -1) < 0) {
            fail("poll");
        }
        if (ready[SECONDARY].revents && receive(fds[SECONDARY], waste) < 0) {
            close(fds[SECONDARY]);
            fds[SECONDARY] = -1;
        }
        if (ready[PRIMARY].revents) {
            ssize_t n = receive(fds[PRIMARY], forward);

            if (n < 0) {
                close(fds[PRIMARY]);
                fds[PRIMARY] = -1;
            }
            from = 0;
            to = n > 0 ? (size_t)n : 0;
        }
        if (from < to) {
            ssize_t n = send(fds[OUTPUT], forward + from, to - from, MSG_DONTWAIT | MSG_NOSIGNAL);

            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                fail("writing the output");
            }
            from += n > 0 ? (size_t)n : 0;
        }
    }
}
