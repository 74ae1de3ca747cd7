/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the daemon
 *
 * One thread owns everything in struct ipamd. Events only mark; ipamd_reconcile() compares what is wanted with what is
 * and emits bounded work, so that a restart, a lost event and a repeated one are no special cases:
 *
 *   start   identify -> limits -> list (+ restore leases, adopt pods the kernel knows) -> sweep leftovers
 *   host    hostnet_sync() and the nft batch; blocks and NICs become READY only after both knew them
 *   serve   waiting ADDs, first come first served
 *   plan    planner_decide() -> intents -> jobs
 *
 * ipamd.c has the loop, reconcile.c one turn of it; requests.c what the socket asks, confirm.c the end of an ADD, check.c a CHECK; cloudwork.c reads
 * of the cloud, mutations.c what changes it; view.c and restore.c what is found; hostwork.c the kernel side, wanted.c what
 * it shall be; egresswork.c addresses that only this node knows; state.c and page.c what people and Prometheus read.
 */
#ifndef IPAMD_IPAMD_H
#define IPAMD_IPAMD_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "ipamd/config.h"
#include "ipamd/demand.h"
#include "ipamd/egress.h"
#include "ipamd/executor.h"
#include "ipamd/hostnet.h"
#include "ipamd/loop.h"
#include "ipamd/metrics.h"
#include "ipamd/planner.h"
#include "ipamd/pool.h"
#include "ipamd/server.h"
#include "ipamd/store.h"

struct confirm;
struct forward;
struct json_t;
struct restore_found;
struct strbuf;

/* On link in every pod, as Calico and amazon-vpc-cni-k8s have them. */
#define IPAMD_POD_GATEWAY  "169.254.1.1"
#define IPAMD_POD_GATEWAY6 "fe80::1"

/** struct waiter - an ADD that waits for an address; FIFO. */
struct waiter {
	struct waiter *next;
	struct server_conn *conn;
	struct proto_request request;
	int64_t since_us, deadline_us;
};

/** struct backoff - when a kind of work may be tried again, and why it failed last. */
struct backoff {
	unsigned failures;
	int64_t not_before_us;
	struct err err; /* class ERR_NONE after a success */
};

struct ipamd_stats {
	struct histogram add_ok, add_failed, del;
	uint64_t add_failures[FAIL_REASON_COUNT];
	uint64_t jobs[JOB_KIND_COUNT][ERR_CLASS_COUNT]; /* finished, by class of result */
	struct histogram job_seconds[JOB_KIND_COUNT];
	uint64_t repairs, reclaimed, adopted;
	int64_t started_us, ready_us; /* ready_us: 0 until the conflist was written */
	int64_t last_list_us;
};

#define IPAMD_FLUSH_MAX   256 /* addresses of one flush: one walk over the table of flows, whatever their number */
#define IPAMD_READ_LAG_US (10 * INT64_C(1000000)) /* how old a read may be: EC2 shows a change within a few seconds */
#define IPAMD_MISSING_MAX                                                                                              \
	256 /* blocks that one list may lack before we call the list wrong rather than the blocks gone */

struct ipamd {
	struct config config;
	char socket_path[CONFIG_TEXT_SIZE + 16];
	struct cloud *cloud;
	struct pool *pool;
	struct store *store;
	struct executor *executor;
	struct hostnet *hostnet;
	struct net *net;
	struct net_monitor *monitor;
	struct net_nft_watch *nft_watch; /* NULL: a kernel that does not tell */
	struct server *server;
	struct metrics *metrics; /* NULL: off */
	uint64_t random;         /* xorshift state: jitter only */

	int epoll_fd;
	struct loop_item signal_item, timer_item, executor_item, netlink_item, nft_item, metrics_item;
	int64_t armed_us;       /* when the timer will ring; 0: nobody knows */
	int64_t metrics_due_us; /* when the metrics page has something to do */
	bool stop;

	/* what we know */
	struct cloud_identity *identity; /* NULL until known */
	struct cloud_limits limits;
	bool limits_known, listed, swept, conflist_written;
	bool first_doubted;    /* the first list lacked a pod's address, and did not count */
	int64_t list_after_us; /* a list that was asked for before is not enough */
	int64_t list_due_us, glance_due_us, sweep_due_us, spool_due_us;
	/* by slot: when its last mutation ended; a list that was asked for before says nothing of it */
	int64_t mutated_us[CLOUD_NICS_MAX];
	/* by slot: until when a list may show what was taken away; what it shows and we lack is not believed before */
	int64_t taken_us[CLOUD_NICS_MAX];
	char attach_tokens[CLOUD_NICS_MAX]
			  [64];   /* by slot: of the attach that is tried; "" = the next one makes its own */
	int64_t attach_failed_us; /* since then no list has shown what it left; 0: nothing open */
	int64_t taken_intents[CLOUD_NICS_MAX]; /* by slot: of the last release or detach, kept for as long as lists may
						* not have seen it; 0 = none */
	unsigned missing_count;
	struct prefix missing[IPAMD_MISSING_MAX]; /* blocks that the previous list lacked */
	struct lease *early;                      /* leases of the store that wait for the first list; owned */
	unsigned early_count;

	uint64_t *suspects; /* leases whose sandbox the last look did not find, by key hash; owned */
	unsigned suspect_count;
	int64_t look_due_us;

	/* work in flight and its back-off */
	unsigned running[JOB_KIND_COUNT];
	uint64_t throttled_before; /* throttle answers of the cloud when the growth that runs began */
	enum pause pause;  /* the operator's word; starts as configured, nothing keeps it; ALL without full access */
	struct err access; /* why nothing may be changed in the cloud; class ERR_NONE with full access */
	struct backoff start, list, glance, grow, shrink, recover, nft, flush;
	unsigned flush_count;
	struct ipaddr flush_addrs[IPAMD_FLUSH_MAX]; /* whose flows are being forgotten */

	/* the host */
	bool host_dirty, host_thorough;
	unsigned host_retries;
	int64_t host_due_us, host_sweep_us;           /* the next look; the next one that is thorough */
	struct hostnet_nic host_nics[CLOUD_NICS_MAX]; /* by slot, as the last sync left it */
	char *nft_applied, *nft_running;              /* owned; NULL = none */
	struct net_port *udp_ports;                   /* that no flow leads around any more; owned */
	unsigned udp_port_count;
	bool has_ports;                   /* of the node, at the last look */
	struct hostnet_services services; /* as last seen: no port is led from them; none where there are no ports */
	int nft_pid;                      /* of the program that loaded nft_applied */
	uint32_t nft_toucher; /* who touched our table last, since we last began to load it; 0 = nobody yet */
	char pod_links[HOSTNET_NAMES_MAX][LEASE_IFNAME_SIZE]; /* how names of host ends begin that were asked for */
	unsigned pod_link_count;
	struct forward *forward; /* what the last look at others' chains found; owned; NULL = none yet */
	int64_t forward_due_us, forward_last_us; /* the next look, the last one */
	unsigned forward_blind;                  /* how often rules of ours were not to be found where they were put */
	bool forward_unread;                     /* the last one failed, which was told */

	/* who waits */
	struct waiter *waiters, **waiters_tail;
	unsigned waiting;
	struct confirm *confirms; /* CONFIRMs that wait for the nft table; owned */
	int64_t gave_up_us;       /* when the last ADD went without an address, and why; 0: none did */
	enum fail_reason gave_up_because;
	struct plan plan; /* the last decision */
	struct demand demand;
	unsigned warm_ips; /* in force at that decision */
	int64_t grown_since_us
		[CLOUD_NICS_MAX]; /* by slot: when the growth was decided whose blocks are not READY yet; 0 */
	int64_t single_until_us[IP_FAMILIES]; /* no unit of the wanted length was to be had; 0 = not so */

	bool only_pods; /* said by who calls ipamd_reconcile(): nothing but requests of pods and word of links since */
	int64_t cloud_wake_us; /* when the cloud's side is looked at whatever happens; 0: in the next turn */

	struct ipamd_stats stats;
	struct egress egress;
};

/* ---- ipamd.c ---- */

/** ipamd_open() - everything that needs no cloud. @config is copied. Errors: INVALID, CONFLICT (another daemon), .... */
int ipamd_open(const struct config *config, struct ipamd **ret, struct err *err);
/** ipamd_run() - until SIGTERM or SIGINT (blocked by the caller, read from a signalfd). */
int ipamd_run(struct ipamd *d, struct err *err);
/** ipamd_close() - waits for running jobs; leaves kernel state, store and conflist for the next start. */
void ipamd_close(struct ipamd *d);
/* ---- start.c ---- */

/** ipamd_new() - a daemon that has its configuration (copied) and an empty pool, and nothing else yet.
 *  @random: seed of the jitter. Return: NULL without memory. */
struct ipamd *ipamd_new(const struct config *config, uint64_t random, int64_t now_us);
/** ipamd_open_store() - open the store at @path, load its leases to wait for the first list. */
int ipamd_open_store(struct ipamd *d, const char *path, struct err *err);
/** ipamd_free() - what those two made, and what the turns kept; NULL is fine. */
void ipamd_free(struct ipamd *d);

/* ---- reconcile.c ---- */

/** ipamd_reconcile() - compare wanted with actual, emit bounded work. Return: when time alone makes another look
 *  necessary; INT64_MAX = never. */
int64_t ipamd_reconcile(struct ipamd *d, int64_t now_us);
/** ipamd_submit() - to the executors; takes @job's contents on success. Errors: EXHAUSTED, RETRY. */
int ipamd_submit(struct ipamd *d, struct job *job, struct err *err);
/** ipamd_take_results() - what the executors finished, into our state; at most 64 of them, the eventfd stays readable
 *  while there are more. */
void ipamd_take_results(struct ipamd *d, int64_t now_us);

/* ---- backoff.c ---- */

/** ipamd_random() - a number below @bound (not 0): jitter. */
uint64_t ipamd_random(struct ipamd *d, uint64_t bound);
/** backoff_fail() - remember @err; next try after a full-jitter delay that doubles to 60 s (120 s when EXHAUSTED), behind
 *  Retry-After. */
void backoff_fail(struct ipamd *d, struct backoff *backoff, const struct err *err, int64_t now_us);
void backoff_ok(struct backoff *backoff);

/* ---- limits.c ---- */

/** limits_remember() - for the next daemon of this boot; a store that fails is logged. */
void limits_remember(struct ipamd *d, const struct cloud_limits *limits);
/** limits_recall() - what was remembered for this instance type and these settings. Return: false when nothing was. */
bool limits_recall(struct ipamd *d, struct cloud_limits *ret);

/* ---- requests.c ---- */

extern const struct server_ops ipamd_server_ops;
/** requests_serve_waiters() - answer those that can be served or whose time is over. Return: next deadline. */
int64_t requests_serve_waiters(struct ipamd *d, int64_t now_us);
/** requests_drop_waiters() - answer all with "ending". */
void requests_drop_waiters(struct ipamd *d);
/** requests_del() - cancel a waiting ADD of that key, release its lease, take the pod down; no lease is success.
 *  Errors: those of the store; then the lease stays. */
int requests_del(struct ipamd *d, const struct lease_key *key, int64_t now_us, struct err *err);
/** requests_why() - the one reason why no address can be leased now; *@ret_err: the error behind it or NULL. */
enum fail_reason requests_why(const struct ipamd *d, const struct err **ret_err);

/** requests_lease() - whose lease it is, also before the first list, and of a pod that only the kernel knew. Return:
 *  borrowed or NULL. */
const struct lease *requests_lease(struct ipamd *d, const struct lease_key *key);
/** requests_early_lease() - the same of those that wait for the first list. Return: borrowed or NULL. */
struct lease *requests_early_lease(struct ipamd *d, const struct lease_key *key);
/** requests_reply_error(), requests_reply_ok() - the whole answer. */
void requests_reply_error(struct server_conn *conn, const struct err *err, enum fail_reason reason);
void requests_reply_ok(struct server_conn *conn);

/** requests_lease_reply() - what ADD and CHECK say of a lease. */
void requests_lease_reply(const struct ipamd *d, const struct lease *lease, struct proto_reply *ret);

/* ---- check.c ---- */

/** check_serve() - the lease, and what the node lacks of that which its pod asked for. */
void check_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request);

/* ---- confirm.c ---- */

/** confirm_serve() - bind a lease, and answer when all that its pod needs is there. */
void confirm_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us);
/** confirm_done() - kernel and nft have everything that the pool holds: who waits for that is answered. */
void confirm_done(struct ipamd *d);
/** confirm_fail() - they will not: who waits gets @err. */
void confirm_fail(struct ipamd *d, const struct err *err);
/** confirm_due() - answer those whose time is over. Return: next deadline. */
int64_t confirm_due(struct ipamd *d, int64_t now_us);
/** confirm_gone() - nobody waits at @conn any more. */
void confirm_gone(struct ipamd *d, const struct server_conn *conn);

/* ---- gc.c, ready.c ---- */

/** gc_serve() - answer a GC: free the leases of its network that are not listed, 32 of them a call. */
void gc_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us);
/** ready_serve() - answer a STATUS from what is known. */
void ready_serve(struct ipamd *d, struct server_conn *conn, int64_t now_us);

/* ---- reclaim.c, spool.c ---- */

/** reclaim_due() - release leases that nobody will give back. Return: when to look again. */
int64_t reclaim_due(struct ipamd *d, int64_t now_us);
/** sandbox_is_gone() - the path of a namespace that is there no more, in a folder that we can see. */
bool sandbox_is_gone(const char *netns);
/** link_is_gone() - the kernel has none of that name, and said so: a look that failed says nothing. */
bool link_is_gone(const struct ipamd *d, const char *ifname);
/** spool_replay_due() - DELs that found no daemon, or one that hung: do them, remove the files. Return: when to look
 *  again. */
int64_t spool_replay_due(struct ipamd *d, int64_t now_us);
/** spool_replay() - the one of that key, if there is one: an ADD that comes behind it must not be undone by it.
 *  Errors: those of the store and of the file; then it is still to be done. */
int spool_replay(struct ipamd *d, const struct lease_key *key, int64_t now_us, struct err *err);

/* ---- flush.c ---- */

/** flush_due() - have the flows of addresses that have cooled forgotten. Return: when to look again. */
int64_t flush_due(struct ipamd *d, int64_t now_us);
/** flush_finish() - a batch came back: its addresses are FREE. */
void flush_finish(struct ipamd *d, const struct job *job, int64_t now_us);

/* ---- cloudwork.c ---- */

/** cloudwork_reconcile() - start the reads that are due, then what the plan says. Return: next deadline. */
int64_t cloudwork_reconcile(struct ipamd *d, int64_t now_us);
/** cloudwork_finish() - a read came back; takes what it keeps from @job. */
void cloudwork_finish(struct ipamd *d, struct job *job, int64_t now_us);
/** cloudwork_list_soon() - a list that is asked for at @at_us or later; one that is under way does not count. */
void cloudwork_list_soon(struct ipamd *d, int64_t at_us);
/** cloudwork_sweep_soon() - within 5 min at random, unless it is due before. */
void cloudwork_sweep_soon(struct ipamd *d, int64_t now_us);

/* ---- intents.c ---- */

/** intents_settle() - calls that a daemon before us sent: doubt what they may take away until a later list, have it and a
 *  sweep made. Behind the first list and the leases of the store. Return: false: they could not be read. */
bool intents_settle(struct ipamd *d);
/** intents_unknown() - the same where the store was lost, and nobody knows which calls were sent. */
void intents_unknown(struct ipamd *d);
/** intents_forget() - the result of that call was recorded. */
void intents_forget(struct ipamd *d, int64_t id);
/** intents_keep() - the same of a release or detach at @slot: as long as lists may not have seen it. */
void intents_keep(struct ipamd *d, unsigned slot, int64_t id);
/** intents_due() - forget what lists have seen. Return: when to look again. */
int64_t intents_due(struct ipamd *d, int64_t now_us);

/* ---- mutations.c ---- */

/** mutations_reconcile() - decide, and start what was decided. Return: next deadline. */
int64_t mutations_reconcile(struct ipamd *d, int64_t now_us);
/** mutations_grown() - a block on that slot became READY: so long did it take. */
void mutations_grown(struct ipamd *d, unsigned slot, int64_t now_us);
/** mutations_finish() - a mutation came back; takes what it keeps from @job. */
void mutations_finish(struct ipamd *d, struct job *job, int64_t now_us);

/* ---- view.c ---- */

/** view_merge() - an authoritative list against the pool: adopt what is new, give up only what two lists lack.
 *  @submitted_us: when it was asked for; NICs that were mutated since are left alone. */
void view_merge(struct ipamd *d, const struct cloud_view *view, int64_t submitted_us, int64_t now_us);
/** view_differs() - do metadata and pool differ in a way that time does not explain? A reason to list, nothing more. */
bool view_differs(const struct ipamd *d, const struct cloud_view *view, int64_t now_us);
/* ---- restore.c ---- */

/** restore_lease() - into the pool, whether a block holds its addresses or not: its pod is there. */
void restore_lease(struct ipamd *d, const struct lease *lease, int64_t now_us);
/** restore_look() - the routes that lead to pods, before the first list counts: who is not seen here loses his. Return: in
 *  @ret, owned: free(). Errors: those of net.h. */
int restore_look(struct ipamd *d, struct restore_found **ret, struct err *err);
/** view_restore() - after the first list: leases of the store enter the pool, and pods that only the kernel knows. @found: used
 *  up. */
void view_restore(struct ipamd *d, struct restore_found *found, int64_t now_us);
/** view_rest() - cooldowns of the store, behind what was doubted: a block that was being released has had its own. */
void view_rest(struct ipamd *d);
/** lease_is_adopted() - of a pod that only the kernel knew: it has no netns path and is named by its host end. */
bool lease_is_adopted(const struct lease *lease);
/** lease_host_ifname() - the name of a lease's host end; an adopted lease carries it as its container. */
void lease_host_ifname(const struct lease *lease, char ret[static LEASE_IFNAME_SIZE]);
/** adopted_key() - the key under which a pod that only the kernel knew is kept: by the name of its host end. */
void adopted_key(const struct ipamd *d, const char *host_ifname, struct lease_key *ret);

/* ---- egresswork.c ---- */

/** egress_source() - what pods without an address of that family leave as: the node's own. Return: family 0: it has none. */
struct ipaddr egress_source(const struct ipamd *d, enum ip_family family);
/** egress_serves() - do new pods get an egress address of that family? */
bool egress_serves(const struct ipamd *d, enum ip_family family);
/** egress_wanted() - by ip_index(): the range that is in use, because new pods get one of it or pods have one. */
void egress_wanted(const struct ipamd *d, struct prefix ret[static IP_FAMILIES]);
/** egress_give() - for a lease that was just made; nothing is remembered of it. Return: family 0: none. */
struct ipaddr egress_give(struct ipamd *d, const struct lease *lease);
/** egress_json() - what the state document says of it. Return: owned, NULL without memory. */
struct json_t *egress_json(const struct ipamd *d);

/* ---- hostwork.c ---- */

/** hostwork_reconcile() - kernel and nft; promotes what both know to READY. Return: next deadline. */
int64_t hostwork_reconcile(struct ipamd *d, int64_t now_us);
void hostwork_nft_finish(struct ipamd *d, struct job *job, int64_t now_us);
/** hostwork_pod_down() - routes away now, link in the background. @addrs: of the lease, by ip_index(). */
void hostwork_pod_down(struct ipamd *d, const struct ipaddr addrs[static IP_FAMILIES], const char *host_ifname);
/** hostwork_lease_down() - the same of a lease that is in the pool no more: nothing of the link where it is another
 *  lease's, nothing but the way past the cover where another plugin wired it. */
void hostwork_lease_down(struct ipamd *d, const struct lease *lease);
/** hostwork_learn_prefix() - the prefix that the conflist names, before the first pod: it has SNAT and its NIC at once. Behind
 *  a look at the host, which knows the names of the NICs. */
void hostwork_learn_prefix(struct ipamd *d);
/** hostwork_learn_name() - a name of a host end that was asked for; "" is fine: pods are told by how it begins.
 *  Return: false if it cannot be: one of the node's own interfaces begins so, it is too short, or there are too many. */
bool hostwork_learn_name(struct ipamd *d, const char *host_ifname);

/* ---- guards.c ---- */

/** guards_allow() - may the pod of this lease ask the metadata service, of which pods are kept off? */
bool guards_allow(const struct ipamd *d, const struct lease *lease);
/** guards_changed() - a lease came or went: the nft table is loaded again where it names that pod. */
void guards_changed(struct ipamd *d, const struct lease *lease);
/** guards_fill() - what the settings and the cloud say of it; the addresses of pods that may ask are the caller's. */
void guards_fill(const struct ipamd *d, struct nft_input *input);

/* ---- forwardwork.c ---- */

/** forwardwork_reconcile() - look at the chains of others when that is due. Return: next deadline. */
int64_t forwardwork_reconcile(struct ipamd *d, int64_t now_us);
/** forwardwork_finish() - a look came back: tells what is new, keeps what was found. */
void forwardwork_finish(struct ipamd *d, struct job *job);
/** forwardwork_soon() - something changed that the next look should not wait a minute for. */
void forwardwork_soon(struct ipamd *d, int64_t now_us);

/* ---- ports.c ---- */

/** struct port_list - ports of the node that lead to pods. */
struct port_list {
	struct net_port *items; /* owned; sorted, no two equal by net_port_cmp() */
	unsigned count;
};
/** ports_collect() - what all BOUND leases ask for, the newest where two ask for the same. Return: 0 or -ENOMEM, then
 *  there is nothing in @ret. */
int ports_collect(const struct pool *pool, struct port_list *ret);
/** port_list_done() - free what it owns. */
void port_list_done(struct port_list *list);
/** ports_look() - which addresses are Services', where there are ports. Return: false: they could not be seen, and those seen
 *  before stand. */
bool ports_look(struct ipamd *d, const struct port_list *list);
/** ports_loaded() - the nft table leads @list: UDP flows that still go elsewhere are forgotten, in the background. */
void ports_loaded(struct ipamd *d, const struct port_list *list, int64_t now_us);
/** ports_flush_finish() - that ended. */
void ports_flush_finish(struct ipamd *d, const struct job *job);
/** ports_rival() - a pod that was bound after @since_us and asks for a port of the bound @lease too. Return: borrowed, and the
 *  port in @ret_port; NULL: none, or no memory to look. */
const struct lease *ports_rival(const struct pool *pool, const struct lease *lease, int64_t since_us,
				struct net_port *ret_port);
/** ports_by_loopback() - has the lease a port that is reached by 127.0.0.1? */
bool ports_by_loopback(const struct lease *lease);

/* ---- hostwatch.c ---- */

/** hostwork_netlink() - read what rtnetlink tells; repairs are due soon after. */
void hostwork_netlink(struct ipamd *d);
/** hostwork_nft_check() - has anybody touched our nft table since we loaded it? Then it is loaded again. */
void hostwork_nft_check(struct ipamd *d, int64_t now_us);

/* ---- state.c, page.c ---- */

/** state_json() - what `berthctl status` draws. Return: owned, NULL without memory. */
struct json_t *state_json(struct ipamd *d, int64_t now_us);
/** page_render() - the /metrics page; @ctx is the struct ipamd. */
void page_render(void *ctx, struct strbuf *out);
bool page_healthy(void *ctx);

#endif
