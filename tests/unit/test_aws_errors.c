/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "berth/str.h"
#include "cloud/aws/errors.h"
#include "tests/check.h"

#define GOLDEN "tests/golden/aws/errors.txt"

struct line {
	unsigned status;
	const char *ident, *message;
	enum err_class class;
};

/* The next line that is not a comment; cuts @text up. */
static bool line_next(char **text, struct line *ret)
{
	for (char *line; (line = strsep(text, "\n"));) {
		const char *status, *class;
		uint64_t number;

		if (!*line || *line == '#')
			continue;
		status = strsep(&line, " ");
		ret->ident = strsep(&line, " ");
		class = strsep(&line, " ");
		assert_int_equal(str_u64(status, 100, 599, &number), 0);
		assert_int_equal(err_class_parse(class, &ret->class), 0);
		ret->status = (unsigned)number;
		ret->message = line ? line : "";
		if (str_equal(ret->ident, "-"))
			ret->ident = "";
		return true;
	}
	return false;
}

static void test_classify__every_line_of_the_golden_file(void **state)
{
	char *text = check_golden(GOLDEN, NULL), *rest = text;
	struct line line;

	(void)state;
	while (line_next(&rest, &line)) {
		enum err_class class = ec2_classify(line.status, line.ident, line.message);

		if (class != line.class)
			fail_msg("%u %s \"%s\": %s, not %s", line.status, line.ident, line.message,
				 err_class_name(class), err_class_name(line.class));
	}
	free(text);
}

static bool row_fits(const struct ec2_error_row *row, const struct line *line)
{
	size_t len = strlen(row->ident), ident_len = strlen(line->ident);

	if (row->ident[0] == '*' ? ident_len < len || !str_equal(line->ident + ident_len - (len - 1), row->ident + 1)
				 : !str_equal(row->ident, line->ident))
		return false;
	return row->class == line->class && (!row->message || strstr(line->message, row->message));
}

static void test_table__every_row_has_a_line(void **state)
{
	size_t count;
	const struct ec2_error_row *rows = ec2_error_rows(&count);

	(void)state;
	assert_true(count > 50);
	for (size_t i = 0; i < count; i++) {
		char *text = check_golden(GOLDEN, NULL), *rest = text;
		bool found = false;
		struct line line;

		while (!found && line_next(&rest, &line))
			found = row_fits(&rows[i], &line);
		free(text);
		if (!found)
			fail_msg("no golden line for %s", rows[i].ident);
	}
}

/* A general row in front of a special one of the same code would hide it. */
static void test_table__special_rows_come_first(void **state)
{
	size_t count;
	const struct ec2_error_row *rows = ec2_error_rows(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = i + 1; j < count; j++) {
			if (!rows[i].message && str_equal(rows[i].ident, rows[j].ident))
				fail_msg("%s is hidden", rows[j].ident);
		}
	}
}

static void test_words__clock_and_denied(void **state)
{
	(void)state;
	assert_true(ec2_is_clock_word("AuthFailure"));
	assert_true(ec2_is_clock_word("RequestExpired"));
	assert_false(ec2_is_clock_word("UnauthorizedOperation"));
	assert_true(ec2_is_denied("UnauthorizedOperation"));
	assert_false(ec2_is_denied("AuthFailure"));
}

static void test_words__slot_and_use(void **state)
{
	struct err err = { 0 };

	(void)state;
	err_set(&err, ERR_CONFLICT, "ec2", "Instance 'i-1' already has an interface attached at device index '1'.");
	assert_false(ec2_is_slot_taken(&err));
	err_set_ident(&err, "InvalidParameterValue");
	assert_true(ec2_is_slot_taken(&err));
	assert_false(ec2_is_in_use(&err));
	err_set(&err, ERR_RETRY, "ec2", "Network interface 'eni-1' is currently in use.");
	err_set_ident(&err, "InvalidParameterValue");
	assert_true(ec2_is_in_use(&err));
}

static void test_words__addr_taken(void **state)
{
	struct err err = { 0 };

	(void)state;
	err_set(&err, ERR_CONFLICT, "ec2", "The specified address is already in use.");
	assert_false(ec2_is_addr_taken(&err));
	err_set_ident(&err, "InvalidIPAddress.InUse");
	assert_true(ec2_is_addr_taken(&err));
	err_set(&err, ERR_CONFLICT, "ec2", "Some of [10.0.1.20] are already assigned to another interface");
	assert_false(ec2_is_addr_taken(&err));
	err_set_ident(&err, "InvalidParameterValue");
	assert_true(ec2_is_addr_taken(&err));
	/* The interface is full: nobody has the address. */
	err_set(&err, ERR_CONFLICT, "ec2", "Number of private addresses will exceed limit.");
	err_set_ident(&err, "PrivateIpAddressLimitExceeded");
	assert_false(ec2_is_addr_taken(&err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_classify__every_line_of_the_golden_file),
		check_unit_test(test_table__every_row_has_a_line),
		check_unit_test(test_table__special_rows_come_first),
		check_unit_test(test_words__clock_and_denied),
		check_unit_test(test_words__slot_and_use),
		check_unit_test(test_words__addr_taken),
	};

	return cmocka_run_group_tests_name("aws_errors", tests, NULL, NULL);
}
