/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"

#define DOMAIN      "state"
#define ROW_SQUARES 50 /* addresses on one line */

enum colour {
	COLOUR_NONE,
	COLOUR_GREEN,
	COLOUR_BLUE,
	COLOUR_YELLOW,
	COLOUR_RED,
	COLOUR_DIM,
	COLOUR_BOLD,
	COLOUR_COUNT
};

static const char *const escapes[COLOUR_COUNT] = {
	[COLOUR_NONE] = "",           [COLOUR_GREEN] = "\033[32m", [COLOUR_BLUE] = "\033[34m",
	[COLOUR_YELLOW] = "\033[33m", [COLOUR_RED] = "\033[31m",   [COLOUR_DIM] = "\033[2m",
	[COLOUR_BOLD] = "\033[1m",
};

/* One row per kind of square, in the order of the sums below the NICs; the shape tells them apart without colour. */
static const struct square {
	const char *state, *mark;
	enum colour colour;
} squares[] = {
	{ "free", "\u25a1", COLOUR_GREEN },
	{ "leased", "\u25a0", COLOUR_BLUE },
	{ "cooling", "\u25a4", COLOUR_YELLOW },
	{ "pending", "\u00b7", COLOUR_DIM }, /* in a block that is not ready, or is going */
	{ "lost", "x", COLOUR_RED },
};

static void paint(const struct ctl *ctl, enum colour colour, const char *text)
{
	if (ctl->colour && colour != COLOUR_NONE)
		(void)fprintf(ctl->out, "%s%s\033[0m", escapes[colour], text);
	else
		(void)fputs(text, ctl->out);
}

static void draw_square(const struct ctl *ctl, const char *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(squares); i++)
		if (str_equal(squares[i].state, state)) {
			paint(ctl, squares[i].colour, squares[i].mark);
			return;
		}
	(void)fputs("?", ctl->out);
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "";
}

static long long number_of(const json_t *obj, const char *key)
{
	return (long long)json_integer_value(json_object_get(obj, key));
}

/* What is shown for a free address depends on its block: only READY blocks lease. */
static const char *shown_state(const char *block_state, const char *addr_state)
{
	if (str_equal(block_state, "lost"))
		return "lost";
	if (str_equal(addr_state, "free") && !str_equal(block_state, "ready"))
		return "pending";
	return addr_state;
}

static void draw_addresses(const struct ctl *ctl, const json_t *nic)
{
	unsigned drawn = 0;
	size_t i, j;
	json_t *block, *addr;

	json_array_foreach (json_object_get(nic, "blocks"), i, block)
		json_array_foreach (json_object_get(block, "addresses"), j, addr) {
			if (drawn && drawn % ROW_SQUARES == 0)
				(void)fputs("\n                                              ", ctl->out);
			draw_square(ctl, shown_state(text_of(block, "state"), text_of(addr, "state")));
			drawn++;
		}
}

static void draw_nic(const struct ctl *ctl, const json_t *nic)
{
	bool closed = json_is_true(json_object_get(nic, "closed"));
	const char *said = text_of(nic, "state"), *state = closed && str_equal(said, "ready") ? "closed" : said;
	const char *link = text_of(nic, "link");

	(void)fprintf(ctl->out, "  %-6s ", *link ? link : "-");
	(void)fprintf(ctl->out, "%-15s ", text_of(nic, "primary_addr"));
	paint(ctl, str_equal(state, "ready") ? COLOUR_NONE : COLOUR_YELLOW, state);
	(void)fprintf(ctl->out, "%*s ", (int)(11 - (strlen(state) < 11 ? strlen(state) : 11)), "");
	(void)fprintf(ctl->out, "%-8s ", text_of(nic, "busy"));
	draw_addresses(ctl, nic);
	(void)fputc('\n', ctl->out);
}

static void draw_head(const struct ctl *ctl, const json_t *state)
{
	bool ready = json_is_true(json_object_get(state, "ready"));
	const json_t *limits = json_object_get(state, "limits");

	paint(ctl, COLOUR_BOLD, *text_of(state, "instance") ? text_of(state, "instance") : "(unknown node)");
	(void)fprintf(ctl->out, "  %s %s %s  ", text_of(state, "cloud"), text_of(state, "type"),
		      text_of(state, "zone"));
	paint(ctl, ready ? COLOUR_GREEN : COLOUR_RED, ready ? "ready" : "not ready");
	if (limits)
		(void)fprintf(ctl->out, "  at most %lld NICs x %lld", number_of(limits, "nics"),
			      number_of(limits, "units_per_nic"));
	(void)fputc('\n', ctl->out);
}

static void draw_squares(const struct ctl *ctl, const json_t *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(squares); i++) {
		const char *key = squares[i].state;

		if (i > 2 && !number_of(a, key))
			continue;
		(void)fputs("  ", ctl->out);
		draw_square(ctl, squares[i].state);
		(void)fprintf(ctl->out, " %s %lld", key, number_of(a, key));
	}
}

static void draw_sums(const struct ctl *ctl, const json_t *state)
{
	const json_t *a = json_object_get(state, "addresses"), *a6 = json_object_get(state, "addresses6");
	const json_t *t = json_object_get(state, "targets");

	draw_squares(ctl, a);
	if (number_of(a, "waiting"))
		(void)fprintf(ctl->out, "  waiting pods %lld", number_of(a, "waiting"));
	(void)fprintf(ctl->out, "   (warm %lld, min %lld, max pods %lld)\n", number_of(t, "warm_ips"),
		      number_of(t, "min_ips"), number_of(t, "max_pods"));
	if (!a6)
		return;
	draw_squares(ctl, a6);
	(void)fputs("   of IPv6\n", ctl->out);
}

/* Families that pods reach as the node. */
static void draw_egress(const struct ctl *ctl, const json_t *state)
{
	size_t i;
	json_t *egress;

	json_array_foreach (json_object_get(state, "egress"), i, egress) {
		bool v6 = str_equal(text_of(egress, "family"), "ipv6");
		const char *as = text_of(egress, "as");

		if (*as)
			(void)fprintf(ctl->out, "  %lld pods reach %s as %s", number_of(egress, "pods"),
				      v6 ? "IPv6" : "IPv4", as);
		else
			paint(ctl, COLOUR_YELLOW,
			      v6 ? "  pods do not reach IPv6: the node has no address of it"
				 : "  pods do not reach IPv4: the node has no address of it");
		if (number_of(egress, "refused"))
			(void)fprintf(ctl->out, ", %lld were refused: all addresses taken",
				      number_of(egress, "refused"));
		(void)fputc('\n', ctl->out);
	}
}

static void draw_blocked(const struct ctl *ctl, const json_t *state)
{
	const json_t *blocked = json_object_get(state, "blocked");

	if (!blocked)
		return;
	paint(ctl, COLOUR_RED, "  cannot grow: ");
	(void)fprintf(ctl->out, "%s. %s\n", text_of(blocked, "reason"), text_of(blocked, "hint"));
	if (*text_of(blocked, "error"))
		(void)fprintf(ctl->out, "    %s\n", text_of(blocked, "error"));
}

static void draw_problems(const struct ctl *ctl, const json_t *state)
{
	const json_t *problem;
	size_t i;

	json_array_foreach (json_object_get(state, "problems"), i, problem) {
		paint(ctl, COLOUR_RED, "  cut off: ");
		(void)fprintf(ctl->out, "%s\n    %s\n", text_of(problem, "what"), text_of(problem, "hint"));
		if (*text_of(problem, "error"))
			(void)fprintf(ctl->out, "    %s\n", text_of(problem, "error"));
	}
}

static void draw_pause(const struct ctl *ctl, const json_t *state)
{
	const char *pause = text_of(state, "pause"), *access = text_of(state, "access");

	if (*access && !str_equal(access, "full")) {
		paint(ctl, COLOUR_YELLOW, "  access: ");
		(void)fprintf(ctl->out, "%s (a setting): nothing is changed in the cloud\n", access);
		return;
	}
	if (!*pause || str_equal(pause, "none"))
		return;
	paint(ctl, COLOUR_YELLOW, "  paused: ");
	(void)fprintf(ctl->out, "%s (berthctl pause none ends it)\n", pause);
}

int status_draw(const struct ctl *ctl, const struct json_t *state, struct err *err)
{
	struct json_t *nics = NULL, *addresses = NULL;
	size_t i;
	json_t *nic;

	if (json_get_arr_opt(state, DOMAIN, "nics", &nics, err) < 0 ||
	    json_get_obj_opt(state, DOMAIN, "addresses", &addresses, err) < 0)
		return -1;
	if (!nics || !addresses)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "no 'nics' or 'addresses': not a state document");
	draw_head(ctl, state);
	json_array_foreach (nics, i, nic)
		draw_nic(ctl, nic);
	draw_sums(ctl, state);
	draw_egress(ctl, state);
	draw_pause(ctl, state);
	draw_blocked(ctl, state);
	draw_problems(ctl, state);
	return 0;
}

int ctl_status(const struct ctl *ctl, struct err *err)
{
	json_auto_t *state = NULL;
	_cleanup_free_ char *text = NULL;

	if (ctl_state(ctl, &state, err) < 0)
		return -1;
	if (!ctl->json)
		return status_draw(ctl, state, err);
	text = json_print(state);
	if (!text)
		return err_set(err, ERR_RETRY, "ctl", "no memory");
	(void)fprintf(ctl->out, "%s\n", text);
	return 0;
}
