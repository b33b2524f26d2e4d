// Members of one c-toxcore conference on loopback, each with a thread of its own, for the benchmark of
// channels. Standard input: `MEMBER TEXT` a line, to be said, where the text begins with its number. Standard output: `ready` once all
// know each other, then `MEMBER NUMBER` for each text that a member is told of another one's.
//
// tox-conference MEMBERS FIRST_PORT

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tox/tox.h>
#include <unistd.h>

enum { HELPERS = 4, NODES_MAX = 64, TEXT_MAX = 256 };

struct said {
  struct said *next;
  size_t length;
  char text[TEXT_MAX];
};

struct node {
  int number;
  Tox *tox;
  uint32_t conference;
  bool is_in;
  bool invited[NODES_MAX];
  pthread_mutex_t lock;
  struct said *first, **last;
};

static struct node nodes[NODES_MAX];
static int members;
static volatile int complete;
static volatile bool is_ready;

static void *must(void *it, const char *what) {
  if (it == NULL) {
    fprintf(stderr, "no %s\n", what);
    exit(1);
  }
  return it;
}

static void on_invite(Tox *tox, uint32_t friend, Tox_Conference_Type type, const uint8_t *cookie,
                      size_t length, void *data) {
  struct node *node = data;
  (void)type;
  if (!node->is_in) {
    node->conference = tox_conference_join(tox, friend, cookie, length, NULL);
    node->is_in = node->conference != UINT32_MAX;
  }
}

static void on_message(Tox *tox, uint32_t conference, uint32_t peer, Tox_Message_Type type,
                       const uint8_t *message, size_t length, void *data) {
  struct node *node = data;
  (void)type;
  if (length > 10 && !tox_conference_peer_number_is_ours(tox, conference, peer, NULL)) {
    printf("%d %ld\n", node->number, strtol((const char *)message, NULL, 10));
  }
}

// The first member knows all others and invites each.
static void invite(struct node *node) {
  for (int other = 1; other < members; other++) {
    if (node->invited[other]) continue;
    Tox_Err_Conference_Invite error;
    tox_conference_invite(node->tox, (uint32_t)other - 1, node->conference, &error);
    node->invited[other] = error == TOX_ERR_CONFERENCE_INVITE_OK;
  }
}

static void say(struct node *node) {
  pthread_mutex_lock(&node->lock);
  while (node->first != NULL) {
    struct said *said = node->first;
    if (!tox_conference_send_message(node->tox, node->conference, TOX_MESSAGE_TYPE_NORMAL,
                                     (const uint8_t *)said->text, said->length, NULL)) {
      break;
    }
    node->first = said->next;
    if (node->first == NULL) node->last = &node->first;
    free(said);
  }
  pthread_mutex_unlock(&node->lock);
}

static void *run(void *data) {
  struct node *node = data;
  bool is_complete = false;
  for (;;) {
    tox_iterate(node->tox, node);
    if (node->number < members) {
      if (node->number == 0 && !is_ready) invite(node);
      if (node->is_in && !is_complete &&
          tox_conference_peer_count(node->tox, node->conference, NULL) == (uint32_t)members) {
        is_complete = true;
        __sync_fetch_and_add(&complete, 1);
      }
      if (is_ready) {
        say(node);
        fflush(stdout);
      }
    }
    // As often as it wants itself.
    struct timespec pause = {0, tox_iteration_interval(node->tox) * 1000000L};
    nanosleep(&pause, NULL);
  }
  return NULL;
}

static void start(struct node *node, int number, uint16_t port) {
  struct Tox_Options *options = must(tox_options_new(NULL), "options");
  tox_options_set_ipv6_enabled(options, false);
  tox_options_set_local_discovery_enabled(options, false);
  tox_options_set_start_port(options, port);
  tox_options_set_end_port(options, port);
  node->number = number;
  node->tox = must(tox_new(options, NULL), "node");
  tox_options_free(options);
  pthread_mutex_init(&node->lock, NULL);
  node->last = &node->first;
  tox_callback_conference_invite(node->tox, on_invite);
  tox_callback_conference_message(node->tox, on_message);
}

int main(int count, char **words) {
  if (count != 3) return 2;
  members = atoi(words[1]);
  int all = members + HELPERS, port = atoi(words[2]);
  if (members < 2 || all > NODES_MAX) return 2;
  static char output[1 << 16];
  setvbuf(stdout, output, _IOFBF, sizeof output);
  for (int number = 0; number < all; number++) start(&nodes[number], number, (uint16_t)(port + number));
  uint8_t key[TOX_PUBLIC_KEY_SIZE], first[TOX_PUBLIC_KEY_SIZE], way[TOX_PUBLIC_KEY_SIZE];
  tox_self_get_public_key(nodes[0].tox, first);
  for (int number = 0; number < all; number++) {
    // All know a few, from whom they learn of the others.
    for (int helper = members; helper < all; helper++) {
      tox_self_get_dht_id(nodes[helper].tox, way);
      tox_bootstrap(nodes[number].tox, "127.0.0.1", (uint16_t)(port + helper), way, NULL);
    }
    if (number > 0 && number < members) {
      tox_self_get_public_key(nodes[number].tox, key);
      tox_friend_add_norequest(nodes[0].tox, key, NULL);
      tox_friend_add_norequest(nodes[number].tox, first, NULL);
    }
  }
  nodes[0].conference = tox_conference_new(nodes[0].tox, NULL);
  nodes[0].is_in = true;
  for (int number = 0; number < all; number++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &nodes[number]) != 0) return 1;
  }
  while (complete < members) {
    struct timespec pause = {0, 20000000L};
    nanosleep(&pause, NULL);
  }
  printf("ready\n");
  fflush(stdout);
  is_ready = true;
  char line[TEXT_MAX + 32];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *text;
    long member = strtol(line, &text, 10);
    if (member < 0 || member >= members || *text != ' ') return 2;
    struct said *said = must(calloc(1, sizeof *said), "memory");
    said->length = strcspn(text + 1, "\n");
    if (said->length >= TEXT_MAX) return 2;
    memcpy(said->text, text + 1, said->length);
    struct node *node = &nodes[member];
    pthread_mutex_lock(&node->lock);
    *node->last = said;
    node->last = &said->next;
    pthread_mutex_unlock(&node->lock);
  }
  _exit(0);
}
