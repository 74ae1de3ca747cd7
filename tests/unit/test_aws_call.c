/* SPDX-License-Identifier: Apache-2.0 */
/* "Not before N seconds", said to one worker of the EC2 client, over real HTTP: nobody of that class calls before. */
#include <pthread.h>
#include <sched.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "tests/unit/aws_stub.h"

#define WORKERS  3
#define CALLS    64
#define AFTER_US USEC_PER_SEC /* what the Retry-After below says */

#define RELEASED                                                                                                       \
	"<UnassignPrivateIpAddressesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">"                      \
	"<requestId>r</requestId><return>true</return></UnassignPrivateIpAddressesResponse>"
#define TOO_FAST                                                                                                       \
	"<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message>"         \
	"</Error></Errors><RequestID>r</RequestID></Response>"

struct world {
	struct aws_stub aws;
	const char *status, *refusal; /* of the first call */
	_Atomic unsigned calls;
	int64_t at_us[CALLS]; /* when each came in */
};

static void ec2(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;
	unsigned call = w->calls;

	(void)number;
	(void)request;
	if (call < CALLS)
		w->at_us[call] = clock_now(&clock_boot);
	if (call == 0)
		stub_reply(answer, w->status, "Retry-After: 1\r\n", w->refusal);
	else
		stub_reply(answer, "200 OK", "Content-Type: text/xml\r\n", RELEASED);
	w->calls = call + 1;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w || check_fds_setup(state) != 0)
		return -1;
	aws_stub_open(&w->aws, ec2, w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	aws_stub_close(&w->aws);
	free(w);
	return check_fds_teardown(state);
}

static void *release(void *arg)
{
	struct world *w = arg;
	const struct prefix block = { .addr = ipaddr_v4(0x0a000114U), .len = 32 };
	struct err err;

	if (w->aws.cloud->ops->release(w->aws.cloud, "eni-0cc", &block, 1, clock_now(&clock_boot) + 30 * USEC_PER_SEC,
				       &err) < 0) {
		print_error("release: %s\n", err.msg);
		return w;
	}
	return NULL;
}

/* The client has read the refusal: what is called from here on was called after it was known. */
static void wait_refused(struct world *w)
{
	int64_t until_us = clock_now(&clock_boot) + 20 * USEC_PER_SEC;
	struct cloud_stats stats;
	uint64_t failures;

	do {
		w->aws.cloud->ops->stats(w->aws.cloud, &stats);
		failures = stats.errors[ERR_THROTTLED] + stats.errors[ERR_RETRY];
		assert_true(clock_now(&clock_boot) < until_us);
		(void)sched_yield();
	} while (!failures);
}

static void hold_everybody(struct world *w, const char *status, const char *refusal)
{
	pthread_t threads[WORKERS];
	void *failed;

	w->status = status;
	w->refusal = refusal;
	assert_int_equal(pthread_create(&threads[0], NULL, release, w), 0);
	wait_refused(w);
	for (unsigned i = 1; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, release, w), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(w->calls, WORKERS + 1);
	for (unsigned i = 1; i < w->calls; i++)
		assert_true(w->at_us[i] - w->at_us[0] >= AFTER_US);
}

static void test_call__throttled_until_then_for_all_workers__azure_17(void **state)
{
	hold_everybody(*state, "503 Service Unavailable", TOO_FAST);
}

static void test_call__too_many_requests_for_all_workers__azure_17(void **state)
{
	hold_everybody(*state, "429 Too Many Requests", "");
}

/* Something in front of EC2 that has no word of EC2's. */
static void test_call__unavailable_until_then_for_all_workers__azure_17(void **state)
{
	hold_everybody(*state, "503 Service Unavailable", "<html>later</html>");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_call__throttled_until_then_for_all_workers__azure_17),
		T(test_call__too_many_requests_for_all_workers__azure_17),
		T(test_call__unavailable_until_then_for_all_workers__azure_17),
	};

	return cmocka_run_group_tests_name("aws_call", tests, NULL, NULL);
}
