/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon makes of the guards' settings: the nft table that its kernel has, as pods come and go. */
#include "tests/net/ipamd_world.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#define OUT_MAX (1U << 20) /* bytes of one program's output */

/* Runs `nft list table inet berth` in this thread's namespace. Return: what it printed, owned; "" without such a table. */
static char *table(void)
{
	char *const argv[] = { (char[]){ "nft" },  (char[]){ "list" },  (char[]){ "table" },
			       (char[]){ "inet" }, (char[]){ "berth" }, NULL };
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	posix_spawn_file_actions_t actions;
	int pipe_fds[2], status = -1;
	char *out = NULL;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0), 0);
	assert_int_equal(posix_spawnp(&pid, argv[0], &actions, NULL, argv, env), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	assert_int_equal(fs_read_fd(pipe_fds[0], OUT_MAX, &out, NULL), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return out;
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
	assert_true(table_has("iifname \"bth*\" fib saddr . iif oif missing counter name \"spoofed\" drop"));
	assert_true(table_has("ip daddr 169.254.169.254 goto refuse"));
	assert_true(table_has("ip6 daddr fd00:ec2::254 goto refuse"));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_guards__are_on_by_default),
		world_test(test_guards__switched_off),
		world_test(test_guards__allowed_namespaces),
	};

	return cmocka_run_group_tests_name("ipamd_guards", tests, world_group_setup, NULL);
}
