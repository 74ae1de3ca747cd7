/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a world: shared by the files of this folder and by nobody else. */
#ifndef TESTS_SIM_WORLD_IMPL_H
#define TESTS_SIM_WORLD_IMPL_H

#include "berth/net.h"
#include "ipamd/ipamd.h"
#include "tests/sim/rng.h"
#include "tests/sim/world.h"

struct sqlite3;

#define MODEL_NICS   16          /* the instance's, others' and left-over ones */
#define MODEL_UNITS  64          /* blocks on one NIC: more than EC2's largest has */
#define MODEL_SUBNET 4096        /* addresses of the largest subnet */
#define SUBNET_BASE  0x0a000000U /* 10.0.0.0 */
#define MODEL_PODS   640         /* at once */
#define MODEL_READS  16          /* states that an old read may show */

/* ---- events and the trace ---- */

typedef void (*event_fn)(struct world *w, uint64_t arg);

struct event {
	int64_t at_us;
	uint64_t seq; /* of two at one time the older comes first */
	event_fn fn;
	uint64_t arg;
};

struct events {
	struct event *heap; /* owned */
	unsigned count, alloc;
	uint64_t seq;
};

#define TRACE_LINES 50
#define TRACE_WIDTH 240

struct trace {
	char lines[TRACE_LINES][TRACE_WIDTH];
	uint64_t count, hash;
	bool verbose;
};

/* ---- the cloud ---- */

enum mnic_state { MNIC_NONE, MNIC_AVAILABLE, MNIC_ATTACHING, MNIC_ATTACHED, MNIC_DETACHING };

struct mnic {
	enum mnic_state state;
	char id[24];
	char token[64];
	bool foreign, closed;
	unsigned slot;
	struct macaddr mac;
	struct ipaddr addr;
	unsigned block_count;
	struct prefix blocks[MODEL_UNITS];
	int64_t attached_us; /* when ATTACHING is over; of DETACHING: when it is AVAILABLE */
	int64_t link_us;     /* when its device is in the guest; INT64_MAX = never */
};

/** struct mnic_watch - what the rules say about mutations of one NIC. */
struct mnic_watch {
	char id[24];
	unsigned in_flight;
	bool unclear; /* a mutation ended AMBIGUOUS and no list was taken in since */
};

struct stolen {
	struct prefix block;
	int64_t at_us;
	unsigned lists; /* that were asked for afterwards and were taken in */
};
#define MODEL_STOLEN 64

struct cloud_state {
	struct mnic nics[MODEL_NICS];
};

struct model_cloud {
	struct cloud head; /* first: what the daemon holds */
	struct cloud_stats stats;
	struct cloud_state now;
	struct cloud_state reads[MODEL_READS]; /* ring of states that ended at read_us[] */
	int64_t read_us[MODEL_READS];
	unsigned read_next;
	uint8_t subnet[MODEL_SUBNET]; /* enum subnet_use by offset */
	unsigned subnet_size;
	struct mnic_watch watch[MODEL_NICS * 2];
	struct stolen stolen[MODEL_STOLEN];
	unsigned stolen_next;
	uint64_t serial;   /* of NICs */
	int64_t tokens_us; /* token bucket of mutations: when it is full again */
	struct {
		bool armed;
		enum job_kind kind;
		unsigned stage;
		enum fate fate;
	} next_fate;
	int64_t answered_us;
};

enum subnet_use { SUBNET_FREE, SUBNET_RESERVED, SUBNET_OTHERS, SUBNET_OURS };

/* ---- the kernel ---- */

struct kpod {
	bool link, route;
	char ifname[LEASE_IFNAME_SIZE];
	int index;
	struct ipaddr addr;
	struct ipaddr egress; /* that is routed to it; family 0: none */
};

struct model_kernel {
	struct kpod pods[MODEL_PODS];
	unsigned pod_top; /* none used from here on */
	int next_index;
	struct prefix *covers; /* owned, sorted */
	unsigned cover_count;
	bool egress_cover;
	char *nft;       /* owned: the table as the last batch left it; NULL = none */
	unsigned events; /* LINK events of NICs that the daemon has not read */
};

/* ---- who has which address ---- */

struct ledger {
	uint32_t pod;       /* serial of the pod whose lease it is; 0: nobody's */
	int64_t free_at_us; /* nobody's: not to be leased before */
	bool stolen;        /* once: the cloud may bring it back at any time, and knows of no cooldown */
	uint64_t seen_step; /* of invariants.c: the last step in which a running pod had it, and which */
	unsigned seen_pod;
};

/* ---- pods ---- */

struct pod {
	enum pod_state state;
	uint32_t serial; /* of its sandbox: in its container ID */
	unsigned name;
	struct ipaddr addr, egress;
	bool confirmed, del_said;
	bool port;       /* it has one of the node, see pods_port() */
	bool confirm_ok; /* what its CONFIRM was answered */
	bool again;      /* its next ADD is of the same sandbox */
	unsigned tries;
	int64_t since_us, asked_us, wait_us;
	char host_ifname[LEASE_IFNAME_SIZE];
	enum fail_reason last_reason;
};

struct server_conn {
	bool open;
	uint32_t serial;
	unsigned pod;
	enum proto_op op;
	struct proto_reply reply; /* CONFIRM, DEL: as it was given; by value */
	bool replied;
	bool late; /* CONFIRM: answered in a later turn */
	int64_t asked_us;
};

#define SPOOL_MAX 4096

/* ---- the daemon's threads ---- */

struct call; /* executor.c */

/** struct finished - a result that the daemon has not taken in. */
struct finished {
	struct job job;
	int64_t view_at_us; /* LIST: of when it is */
};

struct executor {
	struct call *calls;    /* all that are not finished; oldest first */
	struct finished *done; /* owned; oldest first */
	unsigned done_count, done_alloc;
	uint64_t next_id;
};

struct world {
	struct scenario scenario;
	struct rng rng;
	int64_t now_us;
	struct events events;
	struct trace trace;
	bool failed;
	char failure[512];
	struct world_counters counters;

	struct ipamd *d; /* NULL: down */
	bool dying;      /* killed inside its turn: every door is shut */
	bool look;       /* something happened to it: a turn is due */
	int64_t wake_us; /* its timer, or what else it looks for */
	int64_t due_us;  /* its timer */
	unsigned spins;  /* turns in a row that only its own timer asked for */
	int64_t spins_since_us;
	uint64_t life; /* how many daemons there have been */
	enum plant plant;
	bool checking;      /* the rules look: no mistake is made for them */
	bool restart;       /* comes back by itself after it was killed */
	bool surprised;     /* a script did to the daemon what it cannot know of */
	bool settling;      /* no pods, faults or other writers any more */
	uint64_t idle_from; /* mutations when the idle hour began */
	enum crash_point armed;
	unsigned armed_nth;
	bool armed_hit;

	struct executor executor;
	struct model_cloud cloud;
	struct model_kernel kernel;
	struct sqlite3 *keeper; /* keeps the store's memory while no daemon has it open */
	char store_name[64];
	unsigned store_serial;
	bool store_lost; /* and no daemon has seen what the kernel shows since */
	unsigned stores_lost, adoptions_unstored;
	unsigned intents_kept; /* that this daemon could not delete: the next one does */
	struct ledger ledger[MODEL_SUBNET];
	struct ledger egress[EGRESS_SIZE]; /* the same of addresses that only the node knows */

	struct pod pods[MODEL_PODS];
	uint32_t pod_serial;
	unsigned pod_count; /* not NONE */
	unsigned pod_top;   /* none was used from here on */
	struct server_conn conns[SERVER_CONNS_MAX];
	uint32_t spool[SPOOL_MAX]; /* serials of sandboxes whose DEL found no daemon */
	unsigned spool_count;
};

/** sim_world - what the doors without an argument of their own speak to: the world that runs. */
extern struct world *sim_world;

/* ---- world.c ---- */

void world_at(struct world *w, int64_t at_us, event_fn fn, uint64_t arg);
static inline void world_after(struct world *w, int64_t us, event_fn fn, uint64_t arg)
{
	world_at(w, w->now_us + us, fn, arg);
}
static inline void world_in(struct world *w, struct sim_range range, event_fn fn, uint64_t arg)
{
	world_after(w, rng_us(&w->rng, range.low_us, range.high_us), fn, arg);
}
/** world_note() - a line of the trace. */
_printf_(2, 3) void world_note(struct world *w, const char *fmt, ...);
/** world_crash_at() - the daemon comes by @point. Return: is it dead (since now or before)? */
bool world_crash_at(struct world *w, enum crash_point point);
/** world_look() - the daemon has something to see: its turn comes behind this event. */
static inline void world_look(struct world *w)
{
	w->look = true;
}
/** chance() - a fault with its ppm; never while settling. */
static inline bool world_chance(struct world *w, unsigned ppm)
{
	return !w->settling && rng_chance(&w->rng, ppm);
}

/* ---- cloud.c: what the cloud does; all at w->now_us ---- */

void cloud_init(struct world *w);
void cloud_others_start(struct world *w);
/** cloud_reopen() - no NIC is closed to pods any more. */
void cloud_reopen(struct world *w);
struct mnic *cloud_nic(struct world *w, const char *id);
/** cloud_create() - a NIC that hangs on nothing. Errors: EXHAUSTED. */
struct mnic *cloud_create(struct world *w, const struct cloud_want *want, const char *token, struct err *err);
int cloud_attach_nic(struct world *w, struct mnic *nic, unsigned slot, struct err *err);
int cloud_detach_nic(struct world *w, struct mnic *nic, struct err *err);
int cloud_delete_nic(struct world *w, struct mnic *nic, struct err *err);
/** cloud_assign() - up to @most of the wanted units. Return: how many came at *ret_first of nic->blocks, or -1. */
int cloud_assign_units(struct world *w, struct mnic *nic, unsigned most, uint8_t len, struct err *err);
int cloud_release_blocks(struct world *w, struct mnic *nic, const struct prefix *blocks, unsigned count,
			 struct err *err);
/** cloud_recover_block() - exactly this block. Errors: CONFLICT. */
int cloud_recover_block(struct world *w, struct mnic *nic, const struct prefix *block, struct err *err);
/** cloud_read() - the state that a read of now shows; perhaps an old one. *ret_at_us: of when. */
const struct cloud_state *cloud_read(struct world *w, int64_t *ret_at_us);
/** cloud_show() - one NIC as a provider lists it. Return: 0 or -ENOMEM. */
int cloud_show(const struct world *w, const struct mnic *nic, struct cloud_nic *ret);
/** cloud_has() - does the cloud route @block to that NIC? */
bool cloud_has(const struct world *w, const char *nic, const struct prefix *block);
/** cloud_stolen() - was it taken away by another, so that the daemon may not know yet? */
struct stolen *cloud_stolen(struct world *w, const struct prefix *block);
/** cloud_take_token() - of the bucket of mutations. Return: false: throttled. */
bool cloud_take_token(struct world *w);
/** cloud_room() - could the cloud give one more unit to this node, on a NIC that is there or on a new one? */
bool cloud_room(struct world *w);
struct mnic_watch *cloud_watch(struct world *w, const char *id);
/** subnet_offset() - of an address of the subnet; 0 for any other. */
static inline unsigned subnet_offset(const struct ipaddr *addr)
{
	uint32_t host = (uint32_t)addr->bytes[0] << 24 | (uint32_t)addr->bytes[1] << 16 |
			(uint32_t)addr->bytes[2] << 8 | addr->bytes[3];

	return host - SUBNET_BASE < MODEL_SUBNET ? host - SUBNET_BASE : 0;
}
struct ipaddr subnet_addr(unsigned offset);

/* ---- executor.c ---- */

void executor_init(struct world *w);
/** executor_kill() - the daemon died: what was sent is in the cloud's hands, the rest is not sent any more. */
void executor_kill(struct world *w);
void executor_done(struct world *w);
/** executor_mutations() - jobs in flight that change NIC @id ("": any), of the present daemon. */
unsigned executor_mutations(const struct world *w, const char *id);
/** executor_orphans() - calls of dead daemons that may still take effect. */
unsigned executor_orphans(const struct world *w);

/* ---- kernel.c ---- */

void kernel_done(struct world *w);
/** kernel_wire() - the plugin makes a pod's link and route. */
void kernel_wire(struct world *w, const struct pod *pod);
void kernel_link_del(struct world *w, int index);
struct kpod *kernel_pod(struct world *w, const char *ifname);
/** kernel_link_event() - a NIC's device came or went. */
void kernel_link_event(struct world *w, uint64_t arg);
/** kernel_has_nic() - is its device there? */
bool kernel_has_nic(const struct world *w, const struct macaddr *mac);
void kernel_nft_load(struct world *w, const char *batch);
bool kernel_covers(const struct world *w, const struct prefix *block);

/* ---- storedoor.c ---- */

/** ledger_of() - the entry of an address of the subnet, or of the range that only the node knows. */
struct ledger *ledger_of(struct world *w, const struct ipaddr *addr);

int store_door_open(struct world *w, struct err *err);
void store_door_close(struct world *w);
/** store_door_lose() - the file is gone. */
void store_door_lose(struct world *w);
/** store_door_forget() - the ledger knows no more than a daemon that starts without its store. */
void store_door_forget(struct world *w);

/* ---- pods.c ---- */

#define PODS_NETNS "/run/netns" /* folder of the pods' namespaces */

void pods_start(struct world *w);
/** pods_daemon_gone() - every connection broke. */
void pods_daemon_gone(struct world *w);
#define FIRST_PORT 20000U /* of the node: one for each place of a pod */
#define POD_PORT   80U
/** pods_port() - the port of the node that a pod asks for, in each of its sandboxes. */
struct port_map pods_port(const struct pod *pod);
/** pods_port_leads() - does the nft table lead it to the pod's address? */
bool pods_port_leads(const struct world *w, const struct pod *pod);
/** pods_find() - the pod of that sandbox, or NULL. */
struct pod *pods_find(struct world *w, uint32_t serial);
/** pods_forget() - nothing is left of it. */
void pods_forget(struct world *w, struct pod *pod);
/** pods_key() - of a sandbox. */
void pods_key(uint32_t serial, struct lease_key *ret);
/** pods_serial() - of a key that pods_key() made; 0: another. */
uint32_t pods_serial(const struct lease_key *key);

/* ---- invariants.c ---- */

/** invariants_taking() - a release or a detach is about to be sent: no pod has what goes with it. */
void invariants_taking(struct world *w, const struct job *job);
/** invariants_check() - after every step. */
void invariants_check(struct world *w);
/** invariants_short() - does the daemon want more than it has? Then it goes on asking. */
bool invariants_short(const struct world *w);
/** invariants_idle_most() - mutations that an hour without pods, faults and other writers may cost. */
unsigned invariants_idle_most(const struct world *w);
/** invariants_rest() - when nothing has happened for a while. */
void invariants_rest(struct world *w);

/* ---- accessors: the places that know how many families a lease has ---- */

static inline void world_counts(const struct world *w, struct pool_counts *ret)
{
	pool_count(w->d->pool, IP_V4, ret);
}

static inline const struct ipaddr *lease_addr4(const struct lease *lease)
{
	return &lease->addrs[0];
}

#endif
