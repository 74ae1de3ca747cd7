/* SPDX-License-Identifier: Apache-2.0 */
/* What `berthctl status` draws, against whole screens in tests/golden/ctl: NAME.json is the state, NAME.txt the screen. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "ctl/ctl.h"

#define ROOT      "tests/golden/ctl/"
#define PATH_SIZE 128

/* Return: status_draw()'s; *ret_text: owned. */
static int draw(const char *json_text, bool colour, char **ret_text, struct err *err)
{
	json_auto_t *state = json_loads(json_text, 0, NULL);
	size_t size;
	struct ctl ctl = { .colour = colour, .out = open_memstream(ret_text, &size) };
	int rc;

	assert_non_null(state);
	assert_non_null(ctl.out);
	rc = status_draw(&ctl, state, err);
	assert_int_equal(fclose(ctl.out), 0);
	return rc;
}

static void check_screen(const char *state_name, const char *screen_name, bool colour)
{
	_cleanup_free_ char *json = NULL, *want = NULL, *text = NULL;
	char path[PATH_SIZE];
	struct err err = { 0 };

	(void)snprintf(path, sizeof(path), ROOT "%s.json", state_name);
	json = check_golden(path, NULL);
	(void)snprintf(path, sizeof(path), ROOT "%s.txt", screen_name);
	want = check_golden(path, NULL);
	if (draw(json, colour, &text, &err) < 0)
		fail_msg("%s: %s", state_name, err.msg);
	if (!str_equal(text, want))
		fail_msg("%s:\n%s", path, text);
}

static void test_status_draw__serving(void **state)
{
	(void)state;
	check_screen("serving", "serving", false);
}

static void test_status_draw__serving_in_colour(void **state)
{
	(void)state;
	check_screen("serving", "serving-colour", true);
}

/* Neither NICs nor identity yet. */
static void test_status_draw__starting(void **state)
{
	(void)state;
	check_screen("starting", "starting", false);
}

static void test_status_draw__empty_pool(void **state)
{
	(void)state;
	check_screen("empty", "empty", false);
}

static void test_status_draw__lost_block(void **state)
{
	(void)state;
	check_screen("lost", "lost", false);
}

static void test_status_draw__blocked(void **state)
{
	(void)state;
	check_screen("blocked", "blocked", false);
	check_screen("blocked", "blocked-colour", true);
}

static void test_status_draw__cut_off_by_firewalls(void **state)
{
	(void)state;
	check_screen("problems", "problems", false);
}

/* A node that may only read, with pods of both families and a NIC that pods get nothing more of. */
static void test_status_draw__modes(void **state)
{
	(void)state;
	check_screen("modes", "modes", false);
}

/* What an operator did must not be forgotten; what is not paused is not mentioned. */
static void test_status_draw__paused(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct err err;

	(void)state;
	check_screen("paused", "paused", false);
	assert_int_equal(draw("{\"nics\":[],\"addresses\":{},\"pause\":\"none\"}", false, &text, &err), 0);
	assert_null(strstr(text, "pause"));
}

/* Pods without an address of a family, and a node that has none either. */
static void test_status_draw__egress(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct err err;

	(void)state;
	assert_int_equal(draw("{\"nics\":[],\"addresses\":{},\"egress\":["
			      "{\"family\":\"ipv4\",\"as\":\"10.0.0.1\",\"pods\":7,\"refused\":2},"
			      "{\"family\":\"ipv6\",\"as\":\"\",\"pods\":0,\"refused\":0}]}",
			      false, &text, &err),
			 0);
	assert_non_null(strstr(text, "  7 pods reach IPv4 as 10.0.0.1, 2 were refused: all addresses taken\n"));
	assert_non_null(strstr(text, "  pods do not reach IPv6: the node has no address of it\n"));
}

/* More addresses than fit on one line. */
static void test_status_draw__long_row(void **state)
{
	(void)state;
	check_screen("long", "long", false);
}

/* A newer daemon may know states that this program does not. */
static void test_status_draw__unknown_words(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct err err;

	(void)state;
	assert_int_equal(draw("{\"nics\":[{\"state\":\"dreaming\",\"blocks\":[{\"state\":\"ready\",\"addresses\":["
			      "{\"state\":\"odd\"},{}]}]}],\"addresses\":{},\"more\":1}",
			      false, &text, &err),
			 0);
	assert_non_null(strstr(text, "dreaming"));
	assert_non_null(strstr(text, "??"));
}

static void test_status_draw__no_state_document(void **state)
{
	static const char *const texts[] = { "{}",
					     "[]",
					     "{\"nics\":[]}",
					     "{\"addresses\":{}}",
					     "{\"nics\":{},\"addresses\":{}}",
					     "{\"nics\":[],\"addresses\":[]}",
					     "{\"nics\":null,\"addresses\":null}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *text = NULL;
		struct err err = { 0 };

		if (draw(texts[i], false, &text, &err) == 0)
			fail_msg("%s was drawn: %s", texts[i], text);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_true(err.msg[0] != '\0');
		assert_string_equal(text, ""); /* nothing of it */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_status_draw__serving),
		check_unit_test(test_status_draw__serving_in_colour),
		check_unit_test(test_status_draw__starting),
		check_unit_test(test_status_draw__empty_pool),
		check_unit_test(test_status_draw__lost_block),
		check_unit_test(test_status_draw__blocked),
		check_unit_test(test_status_draw__cut_off_by_firewalls),
		check_unit_test(test_status_draw__modes),
		check_unit_test(test_status_draw__paused),
		check_unit_test(test_status_draw__egress),
		check_unit_test(test_status_draw__long_row),
		check_unit_test(test_status_draw__unknown_words),
		check_unit_test(test_status_draw__no_state_document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
