/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: pods, the plugin and the runtime
 *
 * A pod's sandbox has a number, which is in its container ID. The plugin asks (ADD), wires link and route, confirms; the
 * pod is then LIVE. Whatever fails is undone by the plugin, then the runtime says DEL and tries again in a new sandbox
 * after a delay, as kubelet does, or at once in the same, as others do. Plugin and runtime may be killed between any two steps. A DEL that finds no daemon takes
 * the link itself and is spooled.
 */
#include "tests/sim/world_impl.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"

#define CONTAINER_PREFIX "c0ffee"                                     /* of every container ID */
#define ANSWER_GRACE     (200 * USEC_PER_MSEC)                        /* after an ADD's deadline */
#define RUNTIME_DELAY    ((struct sim_range){ 10000, 300000 })        /* until the runtime says DEL of what failed */
#define RETRY_DELAY      ((struct sim_range){ 1000000, 12000000 })    /* kubelet: next sandbox */
#define RETRY_SETTLING   ((struct sim_range){ 200000000, 400000000 }) /* spares the events of pods that no room is for */
#define GC_DELAY         ((struct sim_range){ 60000000, 600000000 })  /* until a vanished container is noticed */
#define ADD_AGAIN        ((struct sim_range){ 1000, 100000 })         /* of the same sandbox */
#define DEL_AGAIN        ((struct sim_range){ 1000, 20000000 })
#define CONFIRM_PATIENCE (5 * USEC_PER_SEC)                     /* of the plugin */
#define GONE_DELAY       ((struct sim_range){ 1000, 10000000 }) /* a plugin that is killed while it waits */

#define PLACE_BITS 16U /* of an event's argument: the pod's place; above it its serial */

/* ---- names ---- */

void pods_key(uint32_t serial, struct lease_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->network, sizeof(ret->network), "berth");
	(void)snprintf(ret->container, sizeof(ret->container), CONTAINER_PREFIX "%010" PRIu32, serial);
	(void)str_copy(ret->ifname, sizeof(ret->ifname), "eth0");
}

uint32_t pods_serial(const struct lease_key *key)
{
	uint64_t serial;

	if (!str_starts(key->container, CONTAINER_PREFIX) ||
	    str_u64(key->container + strlen(CONTAINER_PREFIX), 0, UINT32_MAX, &serial) < 0)
		return 0;
	return (uint32_t)serial;
}

struct pod *pods_find(struct world *w, uint32_t serial)
{
	for (unsigned i = 0; i < w->pod_top; i++)
		if (w->pods[i].state != POD_NONE && w->pods[i].serial == serial)
			return &w->pods[i];
	return NULL;
}

static uint64_t arg_of(const struct world *w, const struct pod *pod)
{
	return (uint64_t)pod->serial << PLACE_BITS | (uint64_t)(pod - w->pods);
}

/* The pod an event is for, or NULL when that sandbox is over or in another state. */
static struct pod *pod_in(struct world *w, uint64_t arg, enum pod_state state)
{
	struct pod *pod = &w->pods[arg & ((1U << PLACE_BITS) - 1)];

	return pod->state == state && pod->serial == (uint32_t)(arg >> PLACE_BITS) ? pod : NULL;
}

void pods_forget(struct world *w, struct pod *pod)
{
	memset(pod, 0, sizeof(*pod));
	w->pod_count--;
}

/* ---- ports ---- */

struct port_map pods_port(const struct pod *pod)
{
	return (struct port_map){ .host_port = (uint16_t)(FIRST_PORT + pod->name),
				  .port = POD_PORT,
				  .protocol = pod->name % 2 ? IPPROTO_UDP : IPPROTO_TCP };
}

bool pods_port_leads(const struct world *w, const struct pod *pod)
{
	const struct port_map map = pods_port(pod);
	char text[96], addr[IPADDR_STRLEN];

	(void)snprintf(text, sizeof(text), "\t%s . %u : %s . %u", runtime_protocol_name(map.protocol), map.host_port,
		       ipaddr_str(&pod->addr, addr), map.port);
	return w->kernel.nft && strstr(w->kernel.nft, text);
}

/* ---- connections ---- */

static struct server_conn *ask(struct world *w, enum proto_op op, uint32_t serial, unsigned place)
{
	struct proto_request request = { .op = op };
	struct server_conn *conn = NULL;

	for (unsigned i = 0; i < SERVER_CONNS_MAX && !conn; i++)
		if (!w->conns[i].open)
			conn = &w->conns[i];
	if (!w->d || w->dying || !conn)
		return NULL;
	*conn = (struct server_conn){ .open = true, .serial = serial, .pod = place, .op = op, .asked_us = w->now_us };
	pods_key(serial, &request.key);
	if (op == PROTO_ADD) {
		(void)str_copy(request.pod.namespace, sizeof(request.pod.namespace), "default");
		(void)snprintf(request.pod.name, sizeof(request.pod.name), "pod-%u", w->pods[place].name);
		(void)snprintf(request.netns, sizeof(request.netns), PODS_NETNS "/%010" PRIu32, serial);
		request.timeout_ms = w->scenario.config.add_timeout_us / USEC_PER_MSEC;
		if (w->pods[place].port)
			request.runtime =
				(struct runtime_config){ .port_count = 1, .ports = { pods_port(&w->pods[place]) } };
	}
	world_note(w, "%s %010" PRIu32, proto_op_name(op), serial);
	ipamd_server_ops.request(w->d, conn, &request);
	world_look(w);
	return conn;
}

/* An answer that is there at once. Return: false: no daemon, or it died over it. */
static bool ask_now(struct world *w, enum proto_op op, uint32_t serial, struct proto_reply *ret)
{
	struct server_conn *conn = ask(w, op, serial, 0);

	if (!conn || !conn->replied)
		return false;
	*ret = conn->reply;
	conn->open = false;
	return true;
}

static void on_wire(struct world *w, uint64_t arg);
static void on_confirmed(struct world *w, uint64_t arg);
static void on_failed(struct world *w, uint64_t arg);

/* The plugin's next step is an event: it must not call back into the daemon's turn. */
static void add_answered(struct world *w, const struct server_conn *conn, const struct proto_reply *reply)
{
	struct pod *pod = &w->pods[conn->pod];
	char text[IPADDR_STRLEN];

	if (pod->serial != conn->serial || pod->state != POD_ADDING)
		return; /* its plugin was killed */
	if (!reply->ok) {
		w->counters.adds_failed++;
		w->counters.failures[reply->reason]++;
		pod->last_reason = reply->reason;
		pod->state = POD_RETRY;
		world_note(w, "ADD %010" PRIu32 " fails: %s", pod->serial, fail_reason_name(reply->reason));
		world_after(w, 0, on_failed, arg_of(w, pod));
		return;
	}
	w->counters.adds_ok++;
	w->counters.last_ok_us = w->now_us;
	pod->wait_us = w->now_us - pod->since_us;
	if (pod->wait_us > w->counters.longest_wait_us)
		w->counters.longest_wait_us = pod->wait_us;
	pod->addr = reply->addresses[0].address.addr;
	pod->egress = reply->egress.address.addr;
	pod->state = POD_WIRING;
	(void)str_copy(pod->host_ifname, sizeof(pod->host_ifname), reply->host_ifname);
	world_note(w, "ADD %010" PRIu32 " gets %s", pod->serial, ipaddr_str(&pod->addr, text));
	world_in(w, w->scenario.load.wire, on_wire, arg_of(w, pod));
}

/* The same of a CONFIRM that had to wait. */
static void confirm_answered(struct world *w, const struct server_conn *conn, bool ok)
{
	struct pod *pod = &w->pods[conn->pod];

	if (pod->serial != conn->serial || pod->state != POD_WIRING)
		return;
	pod->confirm_ok = ok;
	world_after(w, 0, on_confirmed, arg_of(w, pod));
}

void server_reply(struct server_conn *conn, struct proto_reply *reply)
{
	struct world *w = sim_world;

	if (!w->dying) {
		if (!conn->open || conn->replied)
			world_fail(w, "a request is answered once", "%s of %010" PRIu32, proto_op_name(conn->op),
				   conn->serial);
		conn->replied = true;
		conn->reply = *reply;
		conn->reply.state = NULL;
		if (conn->op == PROTO_ADD) {
			conn->open = false;
			add_answered(w, conn, reply);
		}
		if (conn->late) {
			conn->open = false;
			confirm_answered(w, conn, reply->ok);
		}
		(void)world_crash_at(w, CRASH_REPLY_AFTER);
	}
	proto_reply_done(reply);
}

int64_t server_tick(struct server *server, int64_t now_us)
{
	(void)server;
	(void)now_us;
	return INT64_MAX;
}

/* Where the answer to a pod's ADD is waited for. */
static struct server_conn *conn_of(struct world *w, uint32_t serial)
{
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++)
		if (w->conns[i].open && w->conns[i].op == PROTO_ADD && w->conns[i].serial == serial)
			return &w->conns[i];
	return NULL;
}

static void hang_up(struct world *w, uint32_t serial)
{
	struct server_conn *conn = conn_of(w, serial);

	if (!conn)
		return;
	conn->open = false;
	if (w->d && !w->dying)
		ipamd_server_ops.gone(w->d, conn);
	world_look(w);
}

void pods_daemon_gone(struct world *w)
{
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
		if (w->conns[i].open && w->conns[i].late)
			confirm_answered(w, &w->conns[i], false);
		w->conns[i].open = false;
	}
	for (unsigned i = 0; i < MODEL_PODS; i++) {
		struct pod *pod = &w->pods[i];

		if (pod->state != POD_ADDING)
			continue;
		pod->state = POD_RETRY;
		pod->last_reason = FAIL_STARTING;
		world_after(w, 0, on_failed, arg_of(w, pod));
	}
}

/* ---- DEL ---- */

static void spool(struct world *w, uint32_t serial)
{
	for (unsigned i = 0; i < w->spool_count; i++)
		if (w->spool[i] == serial)
			return;
	CHECK(w->spool_count < SPOOL_MAX);
	w->spool[w->spool_count++] = serial;
	world_note(w, "DEL %010" PRIu32 " is spooled", serial);
}

static void unwire(struct world *w, uint32_t serial)
{
	char ifname[LEASE_IFNAME_SIZE];
	const struct kpod *pod;
	struct lease_key key;

	pods_key(serial, &key);
	proto_host_ifname(&key, ifname);
	pod = kernel_pod(w, ifname);
	if (pod)
		kernel_link_del(w, pod->index);
}

/* Return: is it done? False: the daemon refused, the runtime must come again. */
static bool say_del(struct world *w, uint32_t serial)
{
	struct pod *pod = pods_find(w, serial);
	struct proto_reply reply;

	w->counters.dels++;
	if (pod)
		pod->del_said = true;
	if (!world_chance(w, w->scenario.load.del_unheard) && ask_now(w, PROTO_DEL, serial, &reply))
		return reply.ok;
	unwire(w, serial);
	spool(w, serial);
	return true;
}

static void on_del_again(struct world *w, uint64_t serial)
{
	(void)say_del(w, (uint32_t)serial);
}

static void on_retry(struct world *w, uint64_t arg);

static void add_again(struct world *w, struct pod *pod)
{
	pod->state = POD_RETRY;
	pod->again = true;
	world_in(w, ADD_AGAIN, on_retry, arg_of(w, pod));
}

static void on_deleting(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_DELETING);

	if (!pod)
		return;
	if (!say_del(w, pod->serial)) {
		world_in(w, RUNTIME_DELAY, on_deleting, arg);
		return;
	}
	if (world_chance(w, w->scenario.load.del_twice)) {
		world_in(w, DEL_AGAIN, on_del_again, pod->serial);
	} else if (!w->settling && world_chance(w, w->scenario.load.same_again)) {
		add_again(w, pod);
		return;
	}
	pods_forget(w, pod);
}

static void begin_del(struct world *w, struct pod *pod)
{
	pod->state = POD_DELETING;
	world_after(w, 0, on_deleting, arg_of(w, pod));
}

/* ---- ADD ---- */

static void on_add_deadline(struct world *w, uint64_t arg)
{
	const struct pod *pod = pod_in(w, arg, POD_ADDING);

	if (pod && w->d && w->now_us - pod->asked_us >= w->scenario.config.add_timeout_us + ANSWER_GRACE)
		world_fail(w, "an ADD is answered by its deadline", "%010" PRIu32 " after %" PRId64 " ms", pod->serial,
			   (w->now_us - pod->since_us) / USEC_PER_MSEC);
}

/* The plugin is killed while the daemon has its request. */
static void on_plugin_killed(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_ADDING);

	if (!pod)
		return;
	world_note(w, "plugin of %010" PRIu32 " is killed while it waits", pod->serial);
	hang_up(w, pod->serial);
	pod->state = world_chance(w, w->scenario.load.no_del) ? POD_LEFT : POD_RETRY;
	if (pod->state == POD_RETRY)
		world_in(w, RUNTIME_DELAY, on_failed, arg);
	else
		pods_forget(w, pod);
}

static void on_del_early(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_ADDING);

	if (pod)
		(void)say_del(w, pod->serial);
}

static void send_add(struct world *w, struct pod *pod)
{
	const struct sim_load *load = &w->scenario.load;
	struct lease_key key;

	if (!pod->again)
		pod->serial = ++w->pod_serial;
	pod->again = false;
	pod->asked_us = w->now_us;
	pod->state = POD_ADDING;
	pod->confirmed = pod->del_said = false;
	pods_key(pod->serial, &key);
	proto_host_ifname(&key, pod->host_ifname);
	w->counters.adds++;
	world_after(w, w->scenario.config.add_timeout_us + ANSWER_GRACE, on_add_deadline, arg_of(w, pod));
	if (world_chance(w, load->killed_waiting))
		world_in(w, GONE_DELAY, on_plugin_killed, arg_of(w, pod));
	if (world_chance(w, load->del_early))
		world_in(w, GONE_DELAY, on_del_early, arg_of(w, pod));
	if (!ask(w, PROTO_ADD, pod->serial, (unsigned)(pod - w->pods))) {
		pod->state = POD_RETRY;
		pod->last_reason = FAIL_STARTING;
		world_in(w, RUNTIME_DELAY, on_failed, arg_of(w, pod));
	}
}

static void on_retry(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_RETRY);

	if (pod)
		send_add(w, pod);
}

/* The runtime cleans up the sandbox and makes another one. */
static void on_failed(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_RETRY);

	if (!pod)
		return;
	if (!say_del(w, pod->serial)) {
		world_in(w, RUNTIME_DELAY, on_failed, arg);
		return;
	}
	pod->tries++;
	if (!w->settling && world_chance(w, w->scenario.load.same_again)) {
		add_again(w, pod);
		return;
	}
	world_in(w, w->settling && pod->tries > 5 ? RETRY_SETTLING : RETRY_DELAY, on_retry, arg);
}

/* ---- wire and confirm ---- */

static void on_lifetime(struct world *w, uint64_t arg);

static void left(struct world *w, struct pod *pod)
{
	world_note(w, "plugin of %010" PRIu32 " is killed", pod->serial);
	if (world_chance(w, w->scenario.load.no_del)) {
		pod->state = POD_LEFT;
		return;
	}
	pod->state = POD_RETRY;
	world_in(w, RUNTIME_DELAY, on_failed, arg_of(w, pod));
}

static void live(struct world *w, struct pod *pod)
{
	const struct sim_load *load = &w->scenario.load;

	pod->state = POD_LIVE;
	pod->confirmed = true;
	pod->tries = 0;
	if (load->lifetime.high_us)
		world_in(w, load->lifetime, on_lifetime, arg_of(w, pod));
}

static void on_confirmed(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_WIRING);

	if (!pod)
		return;
	if (pod->confirm_ok) {
		if (pod->port && !pods_port_leads(w, pod))
			world_fail(w, "a pod that is confirmed has its port", "%010" PRIu32, pod->serial);
		live(w, pod);
		return;
	}
	/* The plugin undoes what it made; the runtime comes behind it. */
	unwire(w, pod->serial);
	pod->state = POD_RETRY;
	pod->last_reason = FAIL_NONE;
	(void)say_del(w, pod->serial);
	world_in(w, RUNTIME_DELAY, on_failed, arg);
}

static void on_confirm_deadline(struct world *w, uint64_t arg)
{
	const struct pod *pod = pod_in(w, arg, POD_WIRING);

	if (pod && w->d && w->now_us - pod->asked_us >= CONFIRM_PATIENCE)
		world_fail(w, "a CONFIRM is answered by its deadline", "%010" PRIu32, pod->serial);
}

static void on_wire(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_WIRING);
	struct server_conn *conn;

	if (!pod)
		return;
	if (world_chance(w, w->scenario.load.killed_unwired)) {
		left(w, pod);
		return;
	}
	kernel_wire(w, pod);
	pod->asked_us = w->now_us;
	if (world_chance(w, w->scenario.load.killed_wired)) {
		left(w, pod);
		return;
	}
	conn = ask(w, PROTO_CONFIRM, pod->serial, (unsigned)(pod - w->pods));
	if (conn && conn->open && !conn->replied) {
		conn->late = true;
		world_after(w, CONFIRM_PATIENCE, on_confirm_deadline, arg);
		return;
	}
	pod->confirm_ok = conn && conn->replied && conn->reply.ok;
	if (conn)
		conn->open = false;
	on_confirmed(w, arg);
}

/* ---- coming and going ---- */

static void on_lifetime(struct world *w, uint64_t arg)
{
	struct pod *pod = pod_in(w, arg, POD_LIVE);

	if (!pod || w->settling)
		return;
	if (!world_chance(w, w->scenario.load.vanish)) {
		begin_del(w, pod);
		return;
	}
	world_note(w, "pod %010" PRIu32 " vanishes", pod->serial);
	unwire(w, pod->serial);
	pod->state = POD_VANISHED; /* the daemon finds out, or hears it late, whichever comes first */
	if (!world_chance(w, w->scenario.load.no_del))
		world_in(w, GC_DELAY, on_del_again, pod->serial);
}

unsigned world_pod_add(struct world *w)
{
	sim_world = w;
	for (unsigned i = 0; i < MODEL_PODS; i++) {
		if (w->pods[i].state != POD_NONE)
			continue;
		w->pod_count++;
		w->pod_top = i >= w->pod_top ? i + 1 : w->pod_top;
		w->pods[i] = (struct pod){ .name = i, .since_us = w->now_us, .wait_us = -1 };
		w->pods[i].port = world_chance(w, w->scenario.load.ports);
		send_add(w, &w->pods[i]);
		w->wake_us = w->now_us;
		return i;
	}
	return UINT32_MAX;
}

void world_pod_del(struct world *w, unsigned pod)
{
	sim_world = w;
	if (w->pods[pod].state != POD_NONE) {
		hang_up(w, w->pods[pod].serial);
		begin_del(w, &w->pods[pod]);
		w->wake_us = w->now_us;
	}
}

static void delete_all(struct world *w)
{
	for (unsigned i = 0; i < MODEL_PODS; i++)
		if (w->pods[i].state == POD_LIVE)
			begin_del(w, &w->pods[i]);
}

static void on_arrival(struct world *w, uint64_t arg)
{
	const struct sim_load *load = &w->scenario.load;
	unsigned count = 1;

	(void)arg;
	if (w->settling)
		return;
	if (world_chance(w, load->mass_delete_ppm)) {
		delete_all(w);
		count = 0;
	} else if (world_chance(w, load->burst_ppm)) {
		count = rng_u(&w->rng, 1, load->burst_max);
	}
	while (count-- > 0 && w->pod_count < load->pods_max)
		(void)world_pod_add(w);
	world_after(w, rng_us(&w->rng, 0, 2 * load->arrival_us), on_arrival, 0);
}

static void on_burst(struct world *w, uint64_t count)
{
	while (count-- > 0)
		(void)world_pod_add(w);
}

void pods_start(struct world *w)
{
	const struct sim_load *load = &w->scenario.load;

	if (load->at_start)
		world_after(w, rng_us(&w->rng, 0, 10 * USEC_PER_SEC), on_burst, load->at_start);
	if (load->arrival_us)
		world_after(w, rng_us(&w->rng, 0, 2 * load->arrival_us), on_arrival, 0);
}

/* ---- to look at ---- */

enum pod_state world_pod_state(const struct world *w, unsigned pod)
{
	return w->pods[pod].state;
}

unsigned world_pods_in(const struct world *w, enum pod_state state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_PODS; i++)
		count += w->pods[i].state == state;
	return count;
}

int64_t world_pod_wait_us(const struct world *w, unsigned pod)
{
	return w->pods[pod].wait_us;
}
