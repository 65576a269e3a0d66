/* A PLC to test against: a Modbus TCP server by libmodbus, and the sorting program of docs/plc-map.md.
 *
 *     plc_program IMAGE PORT
 *
 * IMAGE is a file of `struct image`, mapped by whoever moves the parts: counters of the sensors go in, the coil and
 * what becomes of each part come out. As with a real PLC nothing is sorted while the program stands still, and
 * everything but the counters' hardware is forgotten when it is started again.
 */
#include <errno.h>
#include <fcntl.h>
#include <modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { NUMBERS = 65536, EVENTS = 65536, REGISTERS = 512, COILS = 16 };
enum { STATUS_AT = 0, RESULTS_AT = 16, SLOTS = 32, SLOT_WORDS = 3, INPUTS_AT = 200 };
enum { STATUS_WORD = 1, RESULT_NUMBER = 5, RESULT_VALID = 1 << 2 };
enum { VALID = 1 << 0, OK = 1 << 1 };
enum { PASSES = 1, EJECTED = 2 };
enum { SCAN_US = 500 };

struct image {
    /* written by the line */
    uint32_t sensor, ejector, encoder, encoder_at_sensor, job, reset;
    /* written by this program */
    uint32_t scan, coil, events, decided;
    uint64_t result_ns[NUMBERS]; /* when the word on a part came, CLOCK_MONOTONIC */
    uint64_t event_ns[EVENTS];   /* when the coil changed */
    uint8_t event_coil[EVENTS];
    uint8_t decision[NUMBERS];
};

static struct image *image;
static modbus_mapping_t *map;
static uint16_t seen[SLOTS][SLOT_WORDS];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint16_t *slot(uint32_t number)
{
    return map->tab_registers + RESULTS_AT + SLOT_WORDS * (number % SLOTS);
}

static int released(uint16_t number)
{
    const uint16_t *words = slot(number);
    return words[0] == number && words[2] == number && (words[1] & VALID) && (words[1] & OK);
}

static void read_inputs(void)
{
    uint16_t *in = map->tab_registers + INPUTS_AT;
    in[0]++;
    in[1] = image->reset ? 1 : 0;
    in[2] = (uint16_t)image->sensor;
    in[3] = (uint16_t)(image->encoder_at_sensor >> 16);
    in[4] = (uint16_t)image->encoder_at_sensor;
    in[5] = (uint16_t)(image->encoder >> 16);
    in[6] = (uint16_t)image->encoder;
    in[7] = (uint16_t)image->job;
    if (map->tab_registers[STATUS_AT + STATUS_WORD] & RESULT_VALID)
        in[8] = map->tab_registers[STATUS_AT + RESULT_NUMBER];
}

static void note_writes(void)
{
    uint64_t now = now_ns();
    for (int i = 0; i < SLOTS; i++) {
        uint16_t *words = slot((uint32_t)i);
        if (memcmp(words, seen[i], sizeof seen[i]) != 0) {
            memcpy(seen[i], words, sizeof seen[i]);
            image->result_ns[words[0]] = now;
        }
    }
    if (image->coil != map->tab_bits[0]) {
        image->coil = map->tab_bits[0];
        image->event_ns[image->events % EVENTS] = now;
        image->event_coil[image->events % EVENTS] = (uint8_t)image->coil;
        __atomic_fetch_add(&image->events, 1, __ATOMIC_RELEASE);
    }
}

static void sort_parts(void)
{
    while (image->decided != image->ejector) {
        uint16_t number = (uint16_t)(image->decided + 1);
        image->decision[number] = released(number) && !image->coil ? PASSES : EJECTED;
        __atomic_fetch_add(&image->decided, 1, __ATOMIC_RELEASE);
    }
}

static void scan(void)
{
    read_inputs();
    note_writes();
    sort_parts();
    __atomic_fetch_add(&image->scan, 1, __ATOMIC_RELEASE);
}

static void serve(modbus_t *modbus, int listener)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    fd_set open;
    FD_ZERO(&open);
    FD_SET(listener, &open);
    for (int highest = listener;;) {
        fd_set ready = open;
        struct timeval wait = {0, SCAN_US};
        if (select(highest + 1, &ready, NULL, NULL, &wait) < 0)
            FD_ZERO(&ready);
        for (int fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = modbus_tcp_accept(modbus, &listener);
                if (client >= 0) {
                    FD_SET(client, &open);
                    highest = client > highest ? client : highest;
                }
                continue;
            }
            modbus_set_socket(modbus, fd);
            int length = modbus_receive(modbus, query);
            if (length > 0)
                modbus_reply(modbus, query, length, map);
            else if (length < 0) {
                close(fd);
                FD_CLR(fd, &open);
            }
        }
        scan();
    }
}

int main(int count, char **arguments)
{
    if (count != 3)
        return fprintf(stderr, "usage: plc_program IMAGE PORT\n"), 2;
    int file = open(arguments[1], O_RDWR);
    if (file < 0 || ftruncate(file, sizeof *image) != 0)
        return perror(arguments[1]), 1;
    image = mmap(NULL, sizeof *image, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    map = modbus_mapping_new(COILS, 0, REGISTERS, 0);
    modbus_t *modbus = modbus_new_tcp("0.0.0.0", atoi(arguments[2]));
    if (image == MAP_FAILED || map == NULL || modbus == NULL)
        return perror("plc_program"), 1;
    image->decided = image->ejector;
    image->coil = 0;
    int listener = modbus_tcp_listen(modbus, 8);
    if (listener < 0)
        return fprintf(stderr, "port %s: %s\n", arguments[2], modbus_strerror(errno)), 1;
    printf("ready\n");
    fflush(stdout);
    serve(modbus, listener);
    return 0;
}
