/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the running mock
 *
 * One mutex over the model. A thread per connection answers; one more makes transitions when they are due, so that a
 * NIC appears in its instance although nobody asks. Waiting, for latency or for a hung call, is done without the mutex.
 *
 *   request -> take a fault -> wait or refuse -> [lock: advance, execute, count] -> wait, cut, lose or send
 */
#include "aws_mock.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../faults.h"
#include "../httpd.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "agent.h"
#include "control.h"
#include "ec2.h"
#include "imds.h"
#include "mock.h"
#include "seed.h"
#include "sts.h"

static int64_t now_us(void)
{
	return clock_now(&clock_boot);
}

static int64_t wall_us(const struct aws_mock *mock)
{
	return clock_now(mock->wall);
}

/* ---- faults ---- */

/* Return: is the call over, its answer being in @reply? */
static bool fault_before(struct aws_mock *mock, struct httpd *httpd, const struct fault *fault,
			 struct httpd_reply *reply, struct ec2_err *err)
{
	*err = (struct ec2_err){ 0 };
	switch (fault->kind) {
	case FAULT_LATENCY:
		return !httpd_wait(httpd, fault->ms);
	case FAULT_HANG:
		(void)httpd_wait(httpd, fault->ms);
		reply->end = HTTPD_CLOSE;
		return true;
	case FAULT_THROTTLE:
		(void)ec2_refuse(err, fault->status ? (unsigned)fault->status : 503,
				 fault->code[0] ? fault->code : "RequestLimitExceeded", "%s",
				 fault->message[0] ? fault->message : "Request limit exceeded.");
		return true;
	case FAULT_ERROR:
		(void)ec2_refuse(err, fault->status ? (unsigned)fault->status : 500,
				 fault->code[0] ? fault->code : "InternalError", "%s",
				 fault->message[0] ? fault->message : "An internal error has occurred");
		return true;
	case FAULT_HTML502:
		strbuf_add(&reply->body, "<html><head><title>502 Bad Gateway</title></head>"
					 "<body><center><h1>502 Bad Gateway</h1></center></body></html>\r\n");
		reply->status = 502;
		httpd_reply_header(reply, "Content-Type", "text/html");
		return true;
	case FAULT_LOST_ANSWER:
	case FAULT_LATE_ANSWER:
	case FAULT_GARBAGE:
	case FAULT_HALF:
	case FAULT_KIND_COUNT:
		break;
	}
	(void)mock;
	return false;
}

static void fault_after(struct httpd *httpd, const struct fault *fault, struct httpd_reply *reply)
{
	static const char garbage[] = "\x89\xff<<<not a document\x01 &amp &#x0; ]]> \xc3\x28";

	switch (fault->kind) {
	case FAULT_LOST_ANSWER:
		reply->end = HTTPD_CLOSE;
		break;
	case FAULT_LATE_ANSWER:
		(void)httpd_wait(httpd, fault->ms);
		break;
	case FAULT_GARBAGE:
		strbuf_clear(&reply->body);
		strbuf_add(&reply->body, garbage);
		reply->status = 200;
		break;
	case FAULT_HALF:
		reply->end = HTTPD_HALF;
		break;
	case FAULT_LATENCY:
	case FAULT_THROTTLE:
	case FAULT_ERROR:
	case FAULT_HTML502:
	case FAULT_HANG:
	case FAULT_KIND_COUNT:
		break;
	}
}

static bool fault_take(struct aws_mock *mock, const char *action, const char *detail, struct fault *ret)
{
	bool found;

	pthread_mutex_lock(&mock->lock);
	found = faults_take(&mock->faults, action, detail, ret);
	pthread_mutex_unlock(&mock->lock);
	return found;
}

/* ---- the API ---- */

static void log_call(const struct aws_mock *mock, const char *action, unsigned status, const char *code,
		     const char *fault)
{
	char at[32];
	json_t *line;

	if (mock->log_fd <= 0)
		return;
	time_text(wall_us(mock), false, at);
	line = json_pack("{s:s, s:s, s:i, s:s, s:s}", "at", at, "action", action, "status", (int)status, "code", code,
			 "fault", fault);
	_cleanup_free_ char *text = line ? json_print(line) : NULL;

	json_decref(line);
	if (text) {
		(void)fs_write_all(mock->log_fd, text, strlen(text));
		(void)fs_write_all(mock->log_fd, "\n", 1);
	}
}

static int64_t call_ms(struct aws_mock *mock, const char *action)
{
	int64_t ms = 0;

	pthread_mutex_lock(&mock->lock);
	const json_t *map = mock->model->timings.call_ms;
	const json_t *own = json_object_get(map, action);

	ms = json_integer_value(own ? own : json_object_get(map, "*"));
	pthread_mutex_unlock(&mock->lock);
	return ms;
}

static void count_call(struct aws_mock *mock, const char *action, const struct ec2_err *err)
{
	struct aws_counter *counter = aws_counter_of(mock, action);

	if (!counter)
		return;
	counter->calls++;
	if (!err->code[0])
		counter->ok++;
	else if (str_equal(err->code, "RequestLimitExceeded"))
		counter->throttled++;
	else
		counter->errors++;
}

static void execute(struct aws_mock *mock, const struct httpd_request *request, const struct query *query,
		    struct httpd_reply *reply, struct ec2_err *err)
{
	pthread_mutex_lock(&mock->lock);
	(void)aws_model_advance(mock->model, now_us());
	reply->status = sts_is_call(query) ? sts_execute(mock->model, query, wall_us(mock), &reply->body, err)
					   : ec2_execute(mock->model, &mock->throttle, request, query, now_us(),
							 wall_us(mock), &reply->body, err);
	pthread_cond_signal(&mock->due);
	pthread_mutex_unlock(&mock->lock);
}

static void error_body(struct aws_model *model, const struct query *query, const struct ec2_err *err,
		       struct strbuf *out)
{
	if (sts_is_call(query))
		sts_error_body(model, err, out);
	else
		ec2_error_body(model, err, out);
}

static void api_call(struct aws_mock *mock, const struct httpd_request *request, const struct query *query,
		     struct httpd_reply *reply)
{
	const char *asked = query_get(query, "Action");
	const char *action = asked && (ec2_action_find(asked) || sts_action_find(asked)) ? asked : "?";
	struct ec2_err err = { 0 };
	struct fault fault;
	bool faulty = fault_take(mock, action, "", &fault);

	if (faulty && fault_before(mock, mock->api, &fault, reply, &err)) {
		if (err.code[0]) {
			pthread_mutex_lock(&mock->lock);
			error_body(mock->model, query, &err, &reply->body);
			pthread_mutex_unlock(&mock->lock);
			reply->status = err.status;
		} else {
			(void)ec2_refuse(&err, reply->status, fault_kind_name(fault.kind), "-");
		}
	} else {
		int64_t ms = call_ms(mock, action);

		if (ms)
			(void)httpd_wait(mock->api, ms);
		execute(mock, request, query, reply, &err);
	}
	pthread_mutex_lock(&mock->lock);
	count_call(mock, action, &err);
	log_call(mock, action, reply->status, err.code, faulty ? fault_kind_name(fault.kind) : "");
	pthread_mutex_unlock(&mock->lock);
	if (faulty)
		fault_after(mock->api, &fault, reply);
}

static void api_handler(void *ctx, const struct httpd_request *request, struct httpd_reply *reply)
{
	struct aws_mock *mock = ctx;
	struct ec2_err err;
	struct query query;
	int rc;

	if (str_starts(request->path, "/_mock/")) {
		pthread_mutex_lock(&mock->lock);
		aws_control(mock, request->path + strlen("/_mock/"), request->body, request->body_size, reply);
		pthread_cond_signal(&mock->due);
		pthread_mutex_unlock(&mock->lock);
		return;
	}
	rc = query_parse(request->body, request->body_size, &query);
	if (rc < 0) {
		pthread_mutex_lock(&mock->lock);
		(void)ec2_refuse(&err, 400, "MalformedQueryString", "The query string contains a syntax error");
		ec2_error_body(mock->model, &err, &reply->body);
		reply->status = err.status;
		pthread_mutex_unlock(&mock->lock);
	} else {
		api_call(mock, request, &query, reply);
		query_done(&query);
	}
	if (!reply->header_count)
		httpd_reply_header(reply, "Content-Type", "text/xml;charset=UTF-8");
	httpd_reply_header(reply, "Server", "AmazonEC2");
}

/* ---- metadata ---- */

static struct aws_instance *who_asks(const struct aws_mock *mock, const struct ipaddr *client)
{
	const struct aws_model *model = mock->model;

	if (!mock->by_source)
		return model->instance_count ? model->instances[0] : NULL;
	for (unsigned i = 0; i < model->instance_count; i++) {
		const struct aws_nic *nic = aws_nic_at(model, model->instances[i], 0, 0);

		if (nic && ipaddr_equal(&nic->face.v4.addrs[0], client))
			return model->instances[i];
	}
	return NULL;
}

/* An answer of the fault, in the form of who was asked. */
static void metadata_error(const struct ec2_err *err, bool agent, struct httpd_reply *reply)
{
	if (agent) {
		agent_error(err, reply);
		return;
	}
	reply->status = err->status;
	strbuf_add(&reply->body, "<html><body>error</body></html>");
	httpd_reply_header(reply, "Content-Type", "text/html");
}

static void metadata_execute(struct aws_metadata *door, const struct httpd_request *request, bool agent,
			     struct httpd_reply *reply)
{
	struct aws_mock *mock = door->mock;

	pthread_mutex_lock(&mock->lock);
	(void)aws_model_advance(mock->model, now_us());
	if (agent)
		agent_serve(mock->model, request, wall_us(mock), reply);
	else
		imds_serve(&mock->imds, mock->model, door->instance ? door->instance : who_asks(mock, &request->client),
			   request, now_us(), wall_us(mock), reply);
	pthread_mutex_unlock(&mock->lock);
}

static bool is_agent_call(struct aws_mock *mock, const struct httpd_request *request)
{
	bool agent;

	pthread_mutex_lock(&mock->lock);
	agent = agent_is_call(mock->model, request);
	pthread_mutex_unlock(&mock->lock);
	return agent;
}

static void metadata_handler(void *ctx, const struct httpd_request *request, struct httpd_reply *reply)
{
	struct aws_metadata *door = ctx;
	struct aws_mock *mock = door->mock;
	bool agent = is_agent_call(mock, request);
	const char *action = agent ? "agent" : "imds";
	struct ec2_err err = { 0 };
	struct fault fault;
	bool faulty = fault_take(mock, action, request->path, &fault);

	if (!faulty || !fault_before(mock, door->httpd, &fault, reply, &err))
		metadata_execute(door, request, agent, reply);
	else if (err.code[0])
		metadata_error(&err, agent, reply);
	pthread_mutex_lock(&mock->lock);
	if (reply->status != 200)
		(void)ec2_refuse(&err, reply->status, "-", "-");
	count_call(mock, action, &err);
	log_call(mock, request->path, reply->status, "", faulty ? fault_kind_name(fault.kind) : "");
	pthread_mutex_unlock(&mock->lock);
	if (faulty)
		fault_after(door->httpd, &fault, reply);
}

/* ---- what is due without being asked ---- */

static void *due_thread(void *arg)
{
	struct aws_mock *mock = arg;
	struct timespec until;

	pthread_mutex_lock(&mock->lock);
	while (!mock->stopping) {
		int64_t next_us = aws_model_advance(mock->model, now_us());

		if (next_us == INT64_MAX) {
			pthread_cond_wait(&mock->due, &mock->lock);
			continue;
		}
		int64_t left_us = next_us - now_us();

		if (left_us <= 0)
			continue;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		left_us += until.tv_nsec / 1000;
		until.tv_sec += (time_t)(left_us / USEC_PER_SEC);
		until.tv_nsec = (long)(left_us % USEC_PER_SEC) * 1000L;
		(void)pthread_cond_timedwait(&mock->due, &mock->lock, &until);
	}
	pthread_mutex_unlock(&mock->lock);
	return NULL;
}

/* ---- life ---- */

static int load(struct aws_mock *mock, const char *text, struct err *err)
{
	json_t *seed;
	int rc;

	if (json_parse(text, strlen(text), "seed", &seed, err) < 0)
		return -1;
	rc = aws_seed_load(mock->model, &mock->throttle, seed, wall_us(mock), err);
	json_decref(seed);
	return rc;
}

static int open_metadata(struct aws_mock *mock, const char *listen, struct aws_instance *instance, struct err *err)
{
	struct aws_metadata *door = &mock->metadata[mock->metadata_count];
	struct httpd_options options = {
		.listen = listen, .handler = metadata_handler, .ctx = door, .ttl = mock->by_source ? 1 : 0
	};

	*door = (struct aws_metadata){ .mock = mock, .instance = instance };
	if (httpd_start(&options, &door->httpd, err) < 0)
		return err_wrap(err, "metadata");
	mock->metadata_count++;
	return 0;
}

static int open_all(struct aws_mock *mock, const struct aws_mock_options *options, struct err *err)
{
	struct httpd_options api = { .listen = options->api ? options->api : "127.0.0.1:0",
				     .handler = api_handler,
				     .ctx = mock };

	if (httpd_start(&api, &mock->api, err) < 0)
		return err_wrap(err, "api");
	if (open_metadata(mock, options->metadata ? options->metadata : "127.0.0.1:0", NULL, err) < 0)
		return -1;
	for (unsigned i = 0; i < options->metadata_for_count; i++) {
		const struct aws_mock_metadata *want = &options->metadata_for[i];
		struct aws_instance *instance = aws_instance_find(mock->model, want->instance);

		if (!instance)
			return err_set(err, ERR_INVALID, "mock", "metadata for %s: no such instance", want->instance);
		if (open_metadata(mock, want->listen, instance, err) < 0)
			return -1;
	}
	return 0;
}

static void locks_init(struct aws_mock *mock)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&mock->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mock->due, &attr);
	pthread_condattr_destroy(&attr);
}

int aws_mock_start(const char *seed, const struct aws_mock_options *options, struct aws_mock **ret, struct err *err)
{
	static const struct aws_mock_options defaults;
	struct aws_mock *mock = calloc(1, sizeof(*mock));

	options = options ? options : &defaults;
	if (!mock)
		return err_set_errno(err, ERR_RETRY, "mock", ENOMEM, "start");
	locks_init(mock);
	mock->wall = options->wall ? options->wall : &clock_wall;
	mock->by_source = options->by_source;
	mock->log_fd = options->log_fd;
	mock->model = aws_model_new();
	if (!mock->model) {
		aws_mock_stop(mock);
		return err_set_errno(err, ERR_RETRY, "mock", ENOMEM, "start");
	}
	mock->model->net = options->net;
	if (options->metadata_for_count > AWS_MOCK_METADATA_MAX || load(mock, seed, err) < 0 ||
	    open_all(mock, options, err) < 0) {
		aws_mock_stop(mock);
		return -1;
	}
	mock->thread_runs = pthread_create(&mock->thread, NULL, due_thread, mock) == 0;
	if (!mock->thread_runs) {
		aws_mock_stop(mock);
		return err_set(err, ERR_RETRY, "mock", "cannot start a thread");
	}
	*ret = mock;
	return 0;
}

void aws_mock_stop(struct aws_mock *mock)
{
	if (!mock)
		return;
	pthread_mutex_lock(&mock->lock);
	mock->stopping = true;
	pthread_cond_broadcast(&mock->due);
	pthread_mutex_unlock(&mock->lock);
	httpd_stop(mock->api);
	for (unsigned i = 0; i < mock->metadata_count; i++)
		httpd_stop(mock->metadata[i].httpd);
	if (mock->thread_runs)
		(void)pthread_join(mock->thread, NULL);
	aws_model_free(mock->model);
	pthread_cond_destroy(&mock->due);
	pthread_mutex_destroy(&mock->lock);
	free(mock);
}

const char *aws_mock_api_url(const struct aws_mock *mock)
{
	return httpd_url(mock->api);
}

const char *aws_mock_metadata_url(const struct aws_mock *mock, const char *instance)
{
	if (!instance)
		return httpd_url(mock->metadata[0].httpd);
	for (unsigned i = 1; i < mock->metadata_count; i++)
		if (str_equal(mock->metadata[i].instance->name, instance))
			return httpd_url(mock->metadata[i].httpd);
	return NULL;
}

int aws_mock_fault(struct aws_mock *mock, const struct fault *fault)
{
	int rc;

	pthread_mutex_lock(&mock->lock);
	rc = faults_add(&mock->faults, fault);
	pthread_mutex_unlock(&mock->lock);
	return rc;
}

void aws_mock_faults_clear(struct aws_mock *mock)
{
	pthread_mutex_lock(&mock->lock);
	faults_clear(&mock->faults);
	pthread_mutex_unlock(&mock->lock);
}

char *aws_mock_control(struct aws_mock *mock, const char *path, const char *body, unsigned *ret_status)
{
	struct httpd_reply reply = { .status = 200 };
	const char *text = body ? body : "";

	pthread_mutex_lock(&mock->lock);
	aws_control(mock, path, text, strlen(text), &reply);
	pthread_cond_signal(&mock->due);
	pthread_mutex_unlock(&mock->lock);
	if (ret_status)
		*ret_status = reply.status;
	return strbuf_take(&reply.body);
}
