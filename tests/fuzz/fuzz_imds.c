/* SPDX-License-Identifier: Apache-2.0 */
/* The role's document of the metadata service: what is taken has keys, what is refused leaves nothing behind. */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "cloud/aws/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);
	struct aws_creds creds = { 0 };
	struct err err = { 0 };
	int64_t us;

	if (!text)
		return 0;
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (aws_time_parse(text, &us) == 0)
		require(strchr(text, 'T') != NULL);
	if (aws_creds_decode(text, &creds, &err) == 0)
		require(creds.access_key.size > 0 && creds.secret_key.size > 0);
	else
		require(err.class != ERR_NONE && !creds.access_key.text);
	aws_creds_done(&creds);
	return 0;
}
