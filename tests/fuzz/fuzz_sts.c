/* SPDX-License-Identifier: Apache-2.0 */
/* STS's answers: credentials are whole or not there, and no error has a word of them. */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "cloud/aws/codec.h"
#include "cloud/aws/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	/* The secret of the corpus, of which the fuzzer makes others. */
	const struct secret secret = { .text = (char *)(uintptr_t) "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
				       .size = 40 };
	const char *xml = (const char *)bytes;
	struct aws_creds creds = { 0 };
	struct ec2_error error;
	struct err err = { 0 };

	if (sts_decode_creds(xml, size, &creds, &err) == 0)
		require(creds.access_key.size > 0 && creds.secret_key.size > 0 && creds.token.size > 0 &&
			creds.expires_us > 0);
	else
		require(err.class != ERR_NONE && !creds.access_key.text && !creds.secret_key.text &&
			!secret_shows(&secret, err.msg));
	aws_creds_done(&creds);
	if (ec2_decode_error(xml, size, &error) == 0)
		require(error.code[0] && memchr(error.code, '\0', sizeof(error.code)) &&
			memchr(error.message, '\0', sizeof(error.message)));
	return 0;
}
