/* A resolver in bad hands, for the process it is preloaded into. Names that a file lists get the addresses that stand behind
   them, one line a name: `name first[+second] next …`. Each question moves a name on to the next of its answers, and the last
   one stays. An answer of several addresses joins them with `+`. How often a name was asked for is written beside the file. All
   other names go the usual way. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 16
#define ANSWERS 8

struct name {
    char name[64];
    char answers[ANSWERS][96];
    int count, asked;
};

static struct name names[NAMES];
static int known;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HOSTILE_NAMES_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    char line[1024];
    if (file == NULL) return;
    while (known < NAMES && fgets(line, sizeof line, file) != NULL) {
        struct name *entry = &names[known];
        char *rest = line, *word = strtok_r(line, " \n", &rest);
        if (word == NULL) continue;
        snprintf(entry->name, sizeof entry->name, "%s", word);
        while (entry->count < ANSWERS && (word = strtok_r(NULL, " \n", &rest)) != NULL)
            snprintf(entry->answers[entry->count++], sizeof entry->answers[0], "%s", word);
        if (entry->count > 0) known++;
    }
    fclose(file);
}

static void note(const char *name) {
    char path[4096];
    const char *names_file = getenv("HOSTILE_NAMES_FILE");
    if (names_file == NULL || (size_t)snprintf(path, sizeof path, "%s.asked", names_file) >= sizeof path) return;
    FILE *file = fopen(path, "a");
    if (file == NULL) return;
    fprintf(file, "%s\n", name);
    fclose(file);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    char answer[96] = "";
    pthread_mutex_lock(&lock);
    for (int i = 0; node != NULL && i < known; i++) {
        struct name *entry = &names[i];
        if (strcasecmp(entry->name, node) != 0) continue;
        snprintf(answer, sizeof answer, "%s", entry->answers[entry->asked < entry->count ? entry->asked : entry->count - 1]);
        entry->asked++;
        note(entry->name);
    }
    pthread_mutex_unlock(&lock);
    if (answer[0] == '\0') return real(node, service, hints, found);

    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST}, *last = NULL;
    if (hints != NULL) {
        numeric.ai_family = hints->ai_family;
        numeric.ai_socktype = hints->ai_socktype;
        numeric.ai_protocol = hints->ai_protocol;
    }
    *found = NULL;
    char *rest = answer;
    for (char *address = strtok_r(answer, "+", &rest); address != NULL; address = strtok_r(NULL, "+", &rest)) {
        struct addrinfo *one = NULL;
        int failed = real(address, service, &numeric, &one);
        if (failed != 0) return failed;
        if (last == NULL) *found = one;
        else last->ai_next = one;
        for (last = one; last->ai_next != NULL; last = last->ai_next) {}
    }
    return 0;
}
