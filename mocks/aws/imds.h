/* SPDX-License-Identifier: Apache-2.0 */
/* The instance metadata service, version 2: tokens, and a tree that is put together for each request. */
#ifndef MOCKS_AWS_IMDS_H
#define MOCKS_AWS_IMDS_H

#include <stdint.h>

#include "model.h"

struct httpd_reply;
struct httpd_request;

#define IMDS_TOKENS_MAX 256   /* alive at one time; a client that asks for one per call must not exhaust memory */
#define IMDS_TTL_MAX_S  21600 /* s, as AWS has it */
#define IMDS_TOKEN_LEN  57

struct imds_token {
	char text[IMDS_TOKEN_LEN];
	const struct aws_instance *instance;
	int64_t until_us;
};

struct imds {
	struct imds_token tokens[IMDS_TOKENS_MAX]; /* a ring: the oldest is forgotten first */
	unsigned next;
};

/** imds_serve() - answer @instance (NULL: nobody that we know). Context: the model's lock is held. */
void imds_serve(struct imds *imds, struct aws_model *model, struct aws_instance *instance,
		const struct httpd_request *request, int64_t now_us, int64_t wall_us, struct httpd_reply *reply);

#endif
