/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a word of EC2 or STS for a failure means for us. Nobody else reads that word, except where the provider's own
 * flow asks with the predicates below. Context of all: any thread.
 */
#ifndef BERTH_AWS_ERRORS_H
#define BERTH_AWS_ERRORS_H

#include <stdbool.h>
#include <stddef.h>

#include "berth/err.h"

/** struct ec2_error_row - one row of the table; the first that fits counts. */
struct ec2_error_row {
	const char *ident;   /* EC2's error code; "*.X": every code that ends so */
	const char *message; /* must occur in the message; NULL: any */
	/* AMBIGUOUS here: the server may have done it; the caller makes it RETRY for an idempotent request. */
	enum err_class class;
};

/** ec2_error_rows() - the whole table, for tests. Return: borrowed; *count elements. */
const struct ec2_error_row *ec2_error_rows(size_t *count);

/**
 * ec2_classify() - the class of one answer
 * @status: HTTP status
 * @ident: code of the error document; "" when there was none (a gateway's HTML page)
 * @message: its text; "" when there was none
 */
enum err_class ec2_classify(unsigned status, const char *ident, const char *message);

/** ec2_is_clock_word() - may the code mean that our clock is wrong? */
bool ec2_is_clock_word(const char *ident);
/** ec2_is_denied() - valid credentials, missing permission: a refresh does not help. */
bool ec2_is_denied(const char *ident);
/** ec2_is_slot_taken() - Attach: the device index is occupied. */
bool ec2_is_slot_taken(const struct err *err);
/** ec2_is_addr_taken() - Assign by name: somebody has one of the addresses; perhaps the interface itself. */
bool ec2_is_addr_taken(const struct err *err);
/** ec2_is_subnet_short() - the subnet has not what was asked for: too few addresses, or no free prefix among them. */
bool ec2_is_subnet_short(const struct err *err);
/** ec2_is_in_use() - Delete: the interface is still attached. */
bool ec2_is_in_use(const struct err *err);

#endif
