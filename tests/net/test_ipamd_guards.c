/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon makes of the guards' settings: the nft table that its kernel has, as pods come and go; and of firewalls of
 * others that close forwarding. */
#include "tests/net/ipamd_world.h"

#include "berth/log.h"
#include "tests/net/said.h"

#define BACK_US (2 * USEC_PER_SEC) /* a look is 200 ms behind a change, and half a second behind the last one */

/* What is asked for may not be there yet. */
static char *output(const char *words)
{
	int status;

	return said_with(words, &status);
}

static void run(const char *words)
{
	free(said(words));
}

static char *table(void)
{
	return output("nft list table inet berth");
}

static bool table_has(const char *part)
{
	_cleanup_free_ char *text = table();

	return strstr(text, part) != NULL;
}

static void test_guards__are_on_by_default(void **state)
{
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	start(w);
	until(table_has("chain sources"));
	assert_true(table_has("iifname \"bth*\" goto source"));
	assert_true(table_has("ip daddr 169.254.169.254 goto refuse_but_dns"));
	assert_true(table_has("ip6 daddr fd00:ec2::254 goto refuse_but_dns"));
	assert_false(table_has("set metadata"));
}

static void test_guards__switched_off(void **state)
{
	struct world *w = *state;

	w->config.source_check = w->config.metadata_guard = false;
	make_cloud(w, 4, FOUR);
	start(w);
	until(table_has("chain frompod"));
	assert_false(table_has("spoofed"));
	assert_false(table_has("169.254.169.254"));
}

static bool is_allowed(const char *addr)
{
	_cleanup_free_ char *text = table();
	char *set = strstr(text, "set metadata {"), *end;

	if (!set)
		return false;
	end = strchr(set, '}');
	assert_non_null(end);
	*end = '\0';
	return strstr(set, addr) != NULL;
}

static void add_in(struct world *w, const char *namespace, const char *container, char addr[static PREFIX_STRLEN])
{
	struct proto_request request = request_of(PROTO_ADD, container);
	_cleanup_reply_ struct proto_reply reply;

	(void)str_copy(request.pod.namespace, sizeof(request.pod.namespace), namespace);
	send_request(w, &request, &reply);
	assert_true(reply.ok);
	(void)prefix_str(&reply.addresses[0].address, addr);
	*strchr(addr, '/') = '\0';
}

/* From its ADD to its DEL, also over a restart of the daemon; nobody else is in the set, and no set is there without one. */
static void test_guards__allowed_namespaces(void **state)
{
	struct world *w = *state;
	char allowed[PREFIX_STRLEN], other[PREFIX_STRLEN];

	w->config.metadata_allow.count = 2;
	(void)str_copy(w->config.metadata_allow.list[0], CLOUD_ID_SIZE, "ci");
	(void)str_copy(w->config.metadata_allow.list[1], CLOUD_ID_SIZE, "kube-system");
	make_cloud(w, 4, FOUR);
	start(w);
	add_in(w, "kube", "c1", other); /* no part of a name is one */
	until(table_has("chain guarded"));
	assert_false(table_has("set metadata"));
	add_in(w, "kube-system", "c2", allowed);
	until(is_allowed(allowed));
	assert_false(is_allowed(other));
	stop(w);
	must(nft_run("delete table inet berth\n", clock_now(&clock_boot) + PATIENCE_US, NULL, &err));
	start(w);
	until(is_allowed(allowed));
	del(w, "c2");
	until(!is_allowed(allowed));
	assert_false(table_has("set metadata"));
}

/* ---- firewalls of others ---- */

#define OURS                                                                                                           \
	"-A FORWARD -i bth+ -m comment --comment berth -j ACCEPT\n-A FORWARD -o bth+ -m comment --comment berth -j "   \
	"ACCEPT"

/* What the state document says is wrong; NULL: nothing is. Borrowed from @state. */
static const char *problem_in(const json_t *state, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(state, "problems"), 0), key));
}

static bool has_problem(struct world *w, const char *part)
{
	json_auto_t *state = state_of(w);
	const char *what = problem_in(state, "what");

	return part ? what && strstr(what, part) : !what;
}

#define until_back(condition)                                                                                          \
	do {                                                                                                           \
		int64_t since_us_ = clock_now(&clock_boot);                                                            \
		until(condition);                                                                                      \
		if (clock_now(&clock_boot) - since_us_ > BACK_US)                                                      \
			fail_msg("not back within two seconds: %s", #condition);                                       \
	} while (0)

/* There before the daemon, made while it runs, flushed, restored by a tool that replaces all. */
static void test_forward__dockers_policy(void **state)
{
	struct world *w = *state;

	run("iptables-nft -P FORWARD DROP");
	make_cloud(w, 4, FOUR);
	start(w);
	until(says("iptables-nft -S FORWARD", OURS));
	run("iptables-nft -F FORWARD");
	until_back(says("iptables-nft -S FORWARD", OURS));
	assert_true(has_problem(w, NULL));
	run("nft flush ruleset");
	until(table_has("chain frompod"));
	run("iptables-nft -P FORWARD DROP");
	until_back(says("iptables-nft -S FORWARD", OURS));
	assert_true(has_problem(w, NULL));
}

/* Both kinds of rules at once, of which nothing is announced for one: found at the start. */
static void test_forward__dockers_policy_by_iptables_legacy(void **state)
{
	struct world *w = *state;

	run("iptables-legacy --wait=10 -P FORWARD DROP");
	make_cloud(w, 4, FOUR);
	start(w);
	until(says("iptables-legacy --wait=10 -S FORWARD", OURS));
	assert_true(has_problem(w, NULL));
}

/* How often @what stands in the log. */
static unsigned logged(int log_fd, const char *what)
{
	_cleanup_free_ char *text = NULL;
	unsigned count = 0;

	assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
	assert_int_equal(fs_read_fd(log_fd, OUT_MAX, &text, NULL), 0);
	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		count++;
	return count;
}

static bool has_looked(unsigned long looks)
{
	static const char series[] = "\nberth_jobs_total{op=\"forward\",result=\"ok\"} ";
	_cleanup_free_ char *page = metrics_page();
	const char *at = strstr(page, series);

	return at && strtoul(at + strlen(series), NULL, 10) >= looks;
}

/* Switched off: in the log once, not at each look; in the state and the metrics for as long as it is so. */
static void test_forward__told_and_over(void **state)
{
	_cleanup_close_ int log_fd = open(check_tmpdir(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_APPEND, 0600);
	_cleanup_free_ char *page = NULL;
	struct world *w = *state;
	json_auto_t *told = NULL;

	w->config.forward_accept = false;
	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	make_cloud(w, 4, FOUR);
	log_init("berth-ipamd", log_fd, LOG_INFO_);
	start(w);
	until(table_has("chain frompod"));
	assert_true(has_problem(w, NULL));
	run("iptables-nft -P FORWARD DROP");
	until_back(has_problem(w, "ip filter FORWARD"));
	told = state_of(w);
	assert_non_null(strstr(problem_in(told, "hint"), "iptables -A FORWARD -i bth+ -j ACCEPT"));
	assert_false(says("iptables-nft -S FORWARD", "berth"));
	page = metrics_page();
	assert_sample(page, "berth_forward_closed", 1);
	for (unsigned long looks = 3; looks < 6; looks++) {
		run("iptables-nft -A FORWARD -i docker0 -j ACCEPT");
		until(has_looked(looks));
	}
	assert_int_equal(logged(log_fd, "pods are cut off by a firewall"), 1);
	run("iptables-nft -P FORWARD ACCEPT");
	until_back(has_problem(w, NULL));
	assert_int_equal(logged(log_fd, "no firewall of this node cuts pods off"), 1);
	run("iptables-nft -P FORWARD DROP");
	until_back(has_problem(w, "ip filter FORWARD"));
	assert_int_equal(logged(log_fd, "pods are cut off by a firewall"), 2);
	stop(w);
	log_init("berth-ipamd", STDERR_FILENO, LOG_INFO_);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_guards__are_on_by_default),
		world_test(test_guards__switched_off),
		world_test(test_guards__allowed_namespaces),
		world_test(test_forward__dockers_policy),
		world_test(test_forward__dockers_policy_by_iptables_legacy),
		world_test(test_forward__told_and_over),
	};

	return cmocka_run_group_tests_name("ipamd_guards", tests, world_group_setup, NULL);
}
