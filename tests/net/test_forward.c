/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firewalls of others that close forwarding, beside the real data path (node_world.h): Docker's FORWARD with policy DROP,
 * by either kind of iptables, RHEL's REJECT at its end, firewalld's chain. Seen red first: without a look nothing passes.
 */
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "berth/str.h"
#include "ipamd/forward.h"
#include "tests/net/node_world.h"

#define LOOK_US   (20 * USEC_PER_SEC)
#define SAID_MAX  (1U << 20)
#define WORDS_MAX 24

struct kind {
	const char *iptables[IP_FAMILIES]; /* words; programs of each family */
	const char *save[IP_FAMILIES];
	const char *name;
	bool legacy;
};

static const struct kind nft_kind = {
	{ "iptables-nft", "ip6tables-nft" }, { "iptables-nft-save", "ip6tables-nft-save" }, "nft", false
};
static const struct kind legacy_kind = { { "iptables-legacy --wait=10", "ip6tables-legacy --wait=10" },
					 { "iptables-legacy-save", "ip6tables-legacy-save" },
					 "iptables-legacy",
					 true };

/* ---- programs on the node ---- */

struct command {
	char words[512];
	char *said; /* owned */
};

static int run_command(void *arg, struct err *err)
{
	struct command *command = arg;
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	_cleanup_close_ int out = memfd_create("said", MFD_CLOEXEC);
	char copy[512], *argv[WORDS_MAX + 1], *save = NULL;
	posix_spawn_file_actions_t actions;
	int status = -1, count = 0, r;
	pid_t pid;

	assert_int_equal(str_copy(copy, sizeof(copy), command->words), 0);
	for (char *w = strtok_r(copy, " ", &save); w && count < WORDS_MAX; w = strtok_r(NULL, " ", &save))
		argv[count++] = w;
	assert_true(count > 0);
	argv[count] = NULL;
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO), 0);
	r = posix_spawnp(&pid, copy, &actions, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return err_set_errno(err, ERR_NOTFOUND, "test", r, "%s", argv[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(lseek(out, 0, SEEK_SET), 0);
	r = fs_read_fd(out, SAID_MAX, &command->said, NULL);
	if (r < 0)
		return err_set_errno(err, ERR_BUG, "test", -r, "read");
	return status == 0 ? 0 : err_set(err, ERR_INVALID, "test", "%s: status %d", command->words, status);
}

/* Return: what it printed, owned. */
_printf_(1, 2) static char *said(const char *format, ...)
{
	struct command command = { 0 };
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command.words, sizeof(command.words), format, args);
	va_end(args);
	must(netns_run(world.fd[NA], run_command, &command, &oops));
	return command.said;
}

#define run(...) free(said(__VA_ARGS__))

/* ---- rules of others ---- */

/* As Docker 28 has them, with a rule of the administrator's; each one's own family. */
static void docker(const struct kind *kind)
{
	static const char *const rules[] = {
		"-P FORWARD DROP",
		"-N DOCKER",
		"-N DOCKER-BRIDGE",
		"-N DOCKER-CT",
		"-N DOCKER-FORWARD",
		"-N DOCKER-ISOLATION-STAGE-1",
		"-N DOCKER-USER",
		"-A FORWARD -j DOCKER-USER",
		"-A FORWARD -j DOCKER-FORWARD",
		"-A DOCKER ! -i docker0 -o docker0 -j DROP",
		"-A DOCKER-BRIDGE -o docker0 -j DOCKER",
		"-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"-A DOCKER-FORWARD -j DOCKER-CT",
		"-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1",
		"-A DOCKER-FORWARD -j DOCKER-BRIDGE",
		"-A DOCKER-FORWARD -i docker0 -j ACCEPT",
		"-A DOCKER-USER -p udp --dport 9999 -m comment --comment no -j DROP",
	};

	for (unsigned f = 0; f < IP_FAMILIES; f++)
		for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
			run("%s %s", kind->iptables[f], rules[i]);
}

static void forget(const struct kind *kind)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		run("%s -P FORWARD ACCEPT", kind->iptables[f]);
		run("%s -F", kind->iptables[f]);
		run("%s -X", kind->iptables[f]);
	}
}

static int none_of_others(void **state)
{
	if (restore(state) < 0)
		return -1;
	forget(&nft_kind);
	forget(&legacy_kind);
	nft(NA, "table inet firewalld {}\ndelete table inet firewalld\n");
	return 0;
}

/* What the tool saves, without counters and, where that is wanted, without our rules. */
static char *saved(const struct kind *kind, unsigned f, bool with_ours)
{
	_cleanup_free_ char *text = said("%s -t filter", kind->save[f]);
	_cleanup_strbuf_ struct strbuf out = { 0 };
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool ours =
			strstr(line, "--comment " FORWARD_MARK " ") || strstr(line, "--comment \"" FORWARD_MARK "\"");

		if (line[0] == '#' || (ours && !with_ours))
			continue;
		line[strcspn(line, "[")] = '\0';
		strbuf_printf(&out, "%s\n", line);
	}
	return strbuf_take(&out);
}

/* ---- looks ---- */

static int look_here(void *arg, struct err *err)
{
	return forward_look(arg, clock_now(&clock_boot) + LOOK_US, err);
}

static void look(struct forward *forward, bool accept)
{
	*forward = (struct forward){
		.accept = accept, .serves = { true, true }, .link_count = 2, .links = { HOSTNET_POD_LINKS, "cali" }
	};
	must(netns_run(world.fd[NA], look_here, forward, &oops));
}

/* From another node, on the node, to the internet. */
static void nothing_passes(void)
{
	each_family(f)
	{
		does_not_pass(&plain_flows[f][1]);
		does_not_pass(&plain_flows[f][2]);
		does_not_pass(&internet_flows[f][0]);
	}
}

/* ---- tests ---- */

static void check_docker(const struct kind *kind)
{
	char *before[IP_FAMILIES];
	struct forward forward;

	docker(kind);
	nothing_passes();
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		before[f] = saved(kind, f, true);
	look(&forward, true);
	assert_int_equal(forward.problem_count, 0);
	assert_int_equal(forward.added, 8); /* both families, both directions, two kinds of links */
	everything_passes();
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		_cleanup_free_ char *after = saved(kind, f, false), *chain = said("%s -S FORWARD", kind->iptables[f]);

		assert_string_equal(after, before[f]);
		assert_string_equal(chain, "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD\n"
					   "-A FORWARD -i bth+ -m comment --comment berth -j ACCEPT\n"
					   "-A FORWARD -o bth+ -m comment --comment berth -j ACCEPT\n"
					   "-A FORWARD -i cali+ -m comment --comment berth -j ACCEPT\n"
					   "-A FORWARD -o cali+ -m comment --comment berth -j ACCEPT\n");
		free(before[f]);
	}
	/* what the administrator forbids stays forbidden */
	does_not_pass(&(struct flow){ P1, "10.0.0.31", 9999, P3, NULL });
	look(&forward, true);
	assert_int_equal(forward.added, 0);
}

static void test_forward__dockers_policy_by_iptables_nft(void **state)
{
	(void)state;
	check_docker(&nft_kind);
}

static void test_forward__dockers_policy_by_iptables_legacy(void **state)
{
	(void)state;
	check_docker(&legacy_kind);
}

static void check_repair(const struct kind *kind)
{
	struct forward forward;

	docker(kind);
	look(&forward, true);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		run("%s -D FORWARD -i bth+ -m comment --comment berth -j ACCEPT", kind->iptables[f]);
		run("%s -D FORWARD -o cali+ -m comment --comment berth -j ACCEPT", kind->iptables[f]);
	}
	look(&forward, true);
	assert_int_equal(forward.added, 4);
	run("%s -F FORWARD", kind->iptables[0]);
	look(&forward, true);
	assert_int_equal(forward.added, 4);
	assert_int_equal(forward.problem_count, 0);
}

/* One rule or all; the tools of others know ours, so an operator can delete them. */
static void test_forward__rules_that_others_removed(void **state)
{
	(void)state;
	check_repair(&nft_kind);
	check_repair(&legacy_kind);
}

static void check_last_rule(const struct kind *kind)
{
	struct forward forward;

	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		run("%s -A FORWARD -m conntrack --ctstate INVALID -j DROP", kind->iptables[f]);
		run("%s -A FORWARD -j REJECT", kind->iptables[f]);
	}
	each_family(f) does_not_pass(&plain_flows[f][0]);
	look(&forward, true);
	assert_int_equal(forward.problem_count, 0);
	assert_int_equal(forward.added, 8);
	everything_passes();
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		_cleanup_free_ char *chain = said("%s -S FORWARD", kind->iptables[f]);
		const char *last = strstr(chain, "-j REJECT");

		assert_non_null(last);
		assert_null(strstr(last, FORWARD_MARK)); /* nothing behind it */
	}
	look(&forward, true);
	assert_int_equal(forward.added, 0);
}

/* RHEL's iptables ends with a REJECT: ours stand in front of that. */
static void test_forward__last_rule_by_iptables_nft(void **state)
{
	(void)state;
	check_last_rule(&nft_kind);
}

static void test_forward__last_rule_by_iptables_legacy(void **state)
{
	(void)state;
	check_last_rule(&legacy_kind);
}

static void check_report(const struct kind *kind)
{
	_cleanup_free_ char *after = NULL, *before = NULL;
	struct forward forward;

	docker(kind);
	before = saved(kind, 0, true);
	look(&forward, false);
	after = saved(kind, 0, true);
	assert_string_equal(before, after);
	assert_int_equal(forward.problem_count, 2);
	assert_non_null(strstr(forward.problems[0].what, "ip filter FORWARD"));
	assert_non_null(strstr(forward.problems[0].what, "policy"));
	assert_non_null(strstr(forward.problems[0].hint, "FORWARD -i bth+ -j ACCEPT"));
	assert_non_null(strstr(forward.problems[1].what, "ip6 filter FORWARD"));
	assert_int_equal(!!strstr(forward.problems[1].hint, "ip6tables-legacy"), kind->legacy);
	assert_string_equal(forward.problems[0].error, "");
	/* what is done by hand is seen */
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		run("%s -A FORWARD -i bth+ -j ACCEPT", kind->iptables[f]);
		run("%s -A FORWARD -o bth+ -j ACCEPT", kind->iptables[f]);
	}
	look(&forward, false);
	assert_int_equal(forward.problem_count, 0);
}

/* forwardAccept off: told of, not touched. */
static void test_forward__told_only(void **state)
{
	(void)state;
	check_report(&nft_kind);
	forget(&nft_kind);
	check_report(&legacy_kind);
}

static void test_forward__family_that_is_not_served(void **state)
{
	struct forward forward = { .accept = true, .serves = { true }, .link_count = 1, .links = { "bth" } };

	(void)state;
	run("ip6tables-nft -P FORWARD DROP");
	must(netns_run(world.fd[NA], look_here, &forward, &oops));
	assert_int_equal(forward.added, 0);
	assert_int_equal(forward.problem_count, 0);
}

/* firewalld's chains are its own: told of with its own command, until its zones know our links. */
static void test_forward__firewalld_is_told_of(void **state)
{
	struct forward forward;

	(void)state;
	nft(NA,
	    "table inet firewalld {\n"
	    " chain filter_FORWARD_POLICIES {\n  iifname \"eth0\" oifname \"eth0\" accept\n }\n"
	    " chain filter_FORWARD { type filter hook forward priority 10;\n"
	    "  ct state established,related accept\n  ct status dnat accept\n  iifname \"lo\" accept\n"
	    "  jump filter_FORWARD_POLICIES\n  ct state invalid drop\n  reject with icmpx admin-prohibited\n }\n}\n");
	each_family(f) does_not_pass(&plain_flows[f][0]);
	look(&forward, true);
	assert_int_equal(forward.added, 0);
	assert_int_equal(forward.problem_count, 1);
	assert_string_equal(forward.problems[0].what,
			    "nft inet firewalld filter_FORWARD drops what pods send and get, by its last rule");
	assert_string_equal(forward.problems[0].hint,
			    "firewall-cmd --permanent --zone=trusted --add-interface=bth+; firewall-cmd --reload");
	/* as firewalld writes that */
	nft(NA, "add rule inet firewalld filter_FORWARD_POLICIES iifname \"bth*\" accept\n"
		"add rule inet firewalld filter_FORWARD_POLICIES oifname \"bth*\" accept\n");
	everything_passes();
	look(&forward, true);
	assert_int_equal(forward.problem_count, 0);
}

static void test_forward__ruleset_of_the_administrator(void **state)
{
	struct forward forward;

	(void)state;
	nft(NA, "table inet others { chain fwd0 { type filter hook forward priority 0; policy drop; }\n}\n");
	look(&forward, true);
	assert_int_equal(forward.added, 0);
	assert_int_equal(forward.problem_count, 1);
	assert_string_equal(forward.problems[0].what,
			    "nft inet others fwd0 drops what pods send and get, by its policy");
	assert_string_equal(
		forward.problems[0].hint,
		"nft insert rule inet others fwd0 iifname \"bth*\" accept, and the same with oifname, to stay");
	/* the hint is right */
	nft(NA, "insert rule inet others fwd0 iifname \"bth*\" accept\n"
		"insert rule inet others fwd0 oifname \"bth*\" accept\n");
	everything_passes();
	look(&forward, true);
	assert_int_equal(forward.problem_count, 0);
}

static void test_forward__nothing_is_closed(void **state)
{
	struct forward forward;

	(void)state;
	look(&forward, true);
	assert_int_equal(forward.added, 0);
	assert_int_equal(forward.problem_count, 0);
	assert_false(forward.blind);
}

/* A tool that fails: told of, with its own words. */
static void test_forward__iptables_legacy_fails(void **state)
{
	const char *old = getenv("PATH");
	_cleanup_free_ char *kept = old ? strdup(old) : NULL;
	struct forward forward;
	char dir[256], path[512];

	(void)state;
	docker(&legacy_kind);
	assert_int_equal(str_copy(dir, sizeof(dir), check_tmpdir()), 0);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		static const char script[] = "#!/bin/sh\necho 'cannot do it' >&2\nexit 4\n";

		check_path(path, sizeof(path), dir, f ? "ip6tables-legacy" : "iptables-legacy");
		assert_int_equal(fs_write_atomic(path, script, sizeof(script) - 1, 0755), 0);
	}
	assert_int_equal(setenv("PATH", dir, 1), 0);
	look(&forward, true);
	assert_int_equal(kept ? setenv("PATH", kept, 1) : unsetenv("PATH"), 0);
	check_tmpdir_remove(dir);
	assert_int_equal(forward.added, 0);
	assert_int_equal(forward.problem_count, 2);
	assert_string_equal(forward.problems[0].error, "iptables-legacy refused: cannot do it");
	assert_string_equal(forward.problems[1].error, "ip6tables-legacy refused: cannot do it");
	assert_false(forward.blind);
}

/* One that says it did it and did not: no rules without end. */
static void test_forward__iptables_legacy_lies(void **state)
{
	const char *old = getenv("PATH");
	_cleanup_free_ char *kept = old ? strdup(old) : NULL;
	struct forward forward;
	char dir[256], path[512];

	(void)state;
	run("iptables-legacy --wait=10 -P FORWARD DROP");
	assert_int_equal(str_copy(dir, sizeof(dir), check_tmpdir()), 0);
	check_path(path, sizeof(path), dir, "iptables-legacy");
	assert_int_equal(fs_write_atomic(path, "#!/bin/sh\n", 10, 0755), 0);
	assert_int_equal(setenv("PATH", dir, 1), 0);
	look(&forward, true);
	assert_int_equal(kept ? setenv("PATH", kept, 1) : unsetenv("PATH"), 0);
	check_tmpdir_remove(dir);
	assert_int_equal(forward.problem_count, 1);
	assert_true(forward.blind);
}

#define forward_test(f) cmocka_unit_test_setup(f, none_of_others)

int main(void)
{
	const struct CMUnitTest tests[] = {
		forward_test(test_forward__nothing_is_closed),
		forward_test(test_forward__dockers_policy_by_iptables_nft),
		forward_test(test_forward__dockers_policy_by_iptables_legacy),
		forward_test(test_forward__rules_that_others_removed),
		forward_test(test_forward__last_rule_by_iptables_nft),
		forward_test(test_forward__last_rule_by_iptables_legacy),
		forward_test(test_forward__told_only),
		forward_test(test_forward__family_that_is_not_served),
		forward_test(test_forward__firewalld_is_told_of),
		forward_test(test_forward__ruleset_of_the_administrator),
		forward_test(test_forward__iptables_legacy_fails),
		forward_test(test_forward__iptables_legacy_lies),
	};

	return cmocka_run_group_tests_name("forward", tests, setup_world, teardown_world);
}
