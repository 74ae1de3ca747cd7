/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a container's agent, the first byte being their status: keys or an error, and never a secret in it; and
 * the URL that it may have. */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "cloud/aws/auth_container.h"
#include "cloud/aws/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const unsigned statuses[] = { 200, 400, 403, 404, 429, 500, 503, 302 };
	const struct secret secret = { .text = (char *)(uintptr_t) "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
				       .size = 40 };
	_cleanup_free_ char *text = malloc(size + 1);
	struct aws_creds creds = { 0 };
	struct err err = { 0 };
	unsigned status;

	if (!text || size == 0)
		return 0;
	status = statuses[bytes[0] % ARRAY_SIZE(statuses)];
	memcpy(text, bytes + 1, size - 1);
	text[size - 1] = '\0';
	if (aws_container_url_allowed(text))
		require(strncmp(text, "http", 4) == 0 && strchr(text, ':'));
	if (aws_container_decode(status, text, &creds, &err) == 0) {
		require(status == 200 && creds.access_key.size > 0 && creds.secret_key.size > 0);
	} else {
		require(err.class != ERR_NONE && err.class != ERR_AMBIGUOUS && !creds.access_key.text);
		/* What the agent says in other answers is its own; whoever sent a token withholds that. */
		require(status != 200 || !secret_shows(&secret, err.msg));
	}
	aws_creds_done(&creds);
	return 0;
}
