/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces that somebody else of the account, or a service of AWS, has made: of the seed and of tests. */
#ifndef MOCKS_AWS_OTHERS_H
#define MOCKS_AWS_OTHERS_H

#include <stdint.h>

struct aws_model;
struct aws_nic;
struct err;
struct json_t;

/**
 * aws_other_nic() - make the NIC that @item describes; it is there, and attached, at once
 *
 * All keys are optional: "instance" (name or id; without it the NIC hangs on nothing), "device_index" (the first free
 * one), "card", "subnet" (id; the instance's, else the first), "type" ("interface", "trunk", "efa", "efa-only"),
 * "primary", "secondary": N, "prefixes": N, "secondary6": N, "prefixes6": N, "description" ("foreign"), "tags",
 * "managed" (requester-managed), "operator" (the service that operates it), "hidden" (not shown unless
 * IncludeManagedResources is asked for).
 *
 * @ret: borrowed. Errors: PROTOCOL (@item), NOTFOUND (instance, subnet), CONFLICT (EC2's refusal in the text).
 */
int aws_other_nic(struct aws_model *model, const struct json_t *item, int64_t now_us, struct aws_nic **ret,
		  struct err *err);

#endif
