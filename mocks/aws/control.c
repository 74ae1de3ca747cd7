/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../httpd.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/json.h"
#include "ec2.h"
#include "identity.h"
#include "mock.h"
#include "model.h"
#include "others.h"
#include "seed.h"

#define DOMAIN "control"

struct aws_counter *aws_counter_of(struct aws_mock *mock, const char *action)
{
	for (unsigned i = 0; i < mock->counter_count; i++)
		if (str_equal(mock->counters[i].action, action))
			return &mock->counters[i];
	if (mock->counter_count == AWS_COUNTERS_MAX)
		return NULL;
	struct aws_counter *counter = &mock->counters[mock->counter_count++];

	(void)str_copy(counter->action, sizeof(counter->action), action);
	return counter;
}

/* ---- state ---- */

static json_t *addrs_json(const struct aws_units *units)
{
	json_t *list = json_array();
	char text[IPADDR_STRLEN];

	for (unsigned i = 0; i < units->addr_count; i++)
		(void)json_array_append_new(list, json_string(ipaddr_str(&units->addrs[i], text)));
	return list;
}

static json_t *prefixes_json(const struct aws_units *units)
{
	json_t *list = json_array();
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; i < units->prefix_count; i++)
		(void)json_array_append_new(list, json_string(prefix_str(&units->prefixes[i], text)));
	return list;
}

static json_t *nic_json(const struct aws_nic *nic)
{
	const struct aws_face *face = &nic->face;
	char mac[MACADDR_STRLEN];

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s*, s:s*, s:i, s:i, s:b, s:b, s:o, s:o, s:o, s:o, s:s, s:O}",
		"id", nic->id, "type", nic->type, "operator", nic->operator_, "mac", macaddr_str(&nic->mac, mac),
		"subnet", nic->subnet->id, "status", aws_nic_status_name(face->status), "managed", nic->managed,
		"instance", face->instance ? face->instance->id : NULL, "attachment",
		face->instance ? face->attachment : NULL, "device_index", (int)face->device, "card", (int)face->card,
		"delete_on_termination", face->delete_on_termination, "source_dest_check", face->source_dest_check,
		"addresses", addrs_json(&face->v4), "prefixes", prefixes_json(&face->v4), "addresses6",
		addrs_json(&face->v6), "prefixes6", prefixes_json(&face->v6), "description", face->description, "tags",
		face->tags);
}

static json_t *instance_json(const struct aws_model *model, const struct aws_instance *instance)
{
	json_t *nics = json_array();

	for (unsigned i = 0; i < model->nic_count; i++)
		if (model->nics[i]->face.instance == instance)
			(void)json_array_append_new(nics, json_string(model->nics[i]->id));
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "id", instance->id, "name", instance->name, "type",
			 instance->type->name, "subnet", instance->subnet->id, "public", instance->public, "nics",
			 nics);
}

static json_t *subnet_json(const struct aws_subnet *subnet)
{
	char text[PREFIX_STRLEN];

	return json_pack("{s:s, s:s, s:I}", "id", subnet->id, "cidr", prefix_str(&subnet->cidr, text), "free",
			 (json_int_t)subnet->pool.free_count);
}

static json_t *counters_json(const struct aws_mock *mock)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < mock->counter_count; i++) {
		const struct aws_counter *c = &mock->counters[i];

		(void)json_object_set_new(all, c->action,
					  json_pack("{s:I, s:I, s:I, s:I}", "calls", (json_int_t)c->calls, "ok",
						    (json_int_t)c->ok, "errors", (json_int_t)c->errors, "throttled",
						    (json_int_t)c->throttled));
	}
	return all;
}

/* Read, mutating, or neither: the metadata service, the agent, STS and what is no action. */
static const char *kind_of(const char *name)
{
	const struct ec2_action *action = ec2_action_find(name);

	if (!action)
		return "others";
	return action->class == EC2_READ ? "reads" : "mutations";
}

static json_t *calls_json(const struct aws_mock *mock)
{
	json_t *all = json_pack("{s:i, s:i, s:i, s:o}", "reads", 0, "mutations", 0, "others", 0, "actions",
				counters_json(mock));

	for (unsigned i = 0; all && i < mock->counter_count; i++) {
		const struct aws_counter *c = &mock->counters[i];
		const char *kind = kind_of(c->action);
		json_int_t calls = json_integer_value(json_object_get(all, kind)) + (json_int_t)c->calls;

		(void)json_object_set_new(all, kind, json_integer(calls));
	}
	return all;
}

static json_t *state_json(const struct aws_mock *mock)
{
	const struct aws_model *model = mock->model;
	json_t *instances = json_array(), *nics = json_array(), *subnets = json_array();

	for (unsigned i = 0; i < model->instance_count; i++)
		(void)json_array_append_new(instances, instance_json(model, model->instances[i]));
	for (unsigned i = 0; i < model->nic_count; i++)
		if (!model->nics[i]->face.dead)
			(void)json_array_append_new(nics, nic_json(model->nics[i]));
	for (unsigned i = 0; i < model->subnet_count; i++)
		(void)json_array_append_new(subnets, subnet_json(model->subnets[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:s, s:s, s:s, s:s}", "instances", instances, "nics", nics,
			 "subnets", subnets, "counters", counters_json(mock), "faults", (int)mock->faults.count,
			 "net_errors", (int)model->net_errors, "net_error", model->net_error, "role_key",
			 model->role_key, "web_key", model->web_key, "agent_key", model->agent_key);
}

/* ---- commands ---- */

static int do_fault(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	struct fault fault;

	(void)ret;
	if (fault_parse(body, &fault, err) < 0)
		return -1;
	if (faults_add(&mock->faults, &fault) < 0)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %d faults at one time", FAULTS_MAX);
	return 0;
}

static int do_faults_clear(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)body;
	(void)ret;
	(void)err;
	faults_clear(&mock->faults);
	return 0;
}

static int do_state(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)body;
	(void)aws_model_advance(mock->model, clock_now(&clock_boot));
	*ret = state_json(mock);
	return *ret ? 0 : err_set_errno(err, ERR_RETRY, DOMAIN, ENOMEM, "state");
}

static int do_calls(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)body;
	*ret = calls_json(mock);
	return *ret ? 0 : err_set_errno(err, ERR_RETRY, DOMAIN, ENOMEM, "calls");
}

static int do_throttle(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	const char *drain = NULL;

	(void)ret;
	if (json_get_bool_opt(body, DOMAIN, "enabled", &mock->throttle.enabled, err) < 0 ||
	    json_get_str_opt(body, DOMAIN, "drain", &drain, err) < 0)
		return -1;
	if (drain)
		throttle_drain(&mock->throttle, drain, clock_now(&clock_boot));
	return 0;
}

static int do_timings(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)ret;
	return aws_seed_timings(mock->model, body, err);
}

/* The access key behind a word, or the word itself. */
static const char *handed_out(const struct aws_model *model, const char *word)
{
	if (str_equal(word, "role"))
		return model->role_key;
	if (str_equal(word, "web"))
		return model->web_key;
	return str_equal(word, "agent") ? model->agent_key : word;
}

static int do_web_identity(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)ret;
	return aws_identity_set(mock->model, body, clock_now(mock->wall), err);
}

static int do_agent(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	(void)ret;
	return aws_agent_set(mock->model, body, err);
}

static int do_credentials(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	const char *key;

	(void)ret;
	if (json_get_str(body, DOMAIN, "expire", &key, err) < 0)
		return -1;
	struct aws_creds *creds = aws_creds_find(mock->model, handed_out(mock->model, key));

	if (!creds)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "no credentials %s", key);
	creds->expiry_us = clock_now(mock->wall);
	return 0;
}

static int do_foreign(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	char mac[MACADDR_STRLEN];
	struct aws_nic *nic;

	if (aws_other_nic(mock->model, body, clock_now(&clock_boot), &nic, err) < 0)
		return -1;
	*ret = json_pack("{s:s, s:s, s:s, s:i}", "nic", nic->id, "attachment", nic->face.attachment, "mac",
			 macaddr_str(&nic->mac, mac), "device_index", (int)nic->face.device);
	return 0;
}

static int remove_units(struct aws_model *model, struct aws_nic *nic, const json_t *list, struct err *err)
{
	struct aws_units units = { 0 };
	struct ec2_err refused;
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		struct prefix range;

		if (i == AWS_NIC_UNITS_MAX || !json_is_string(item) ||
		    prefix_parse(json_string_value(item), &range) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "units[%zu] is no address and no prefix", i);
		if (range.len == ipaddr_bits(&range.addr))
			units.addrs[units.addr_count++] = range.addr;
		else
			units.prefixes[units.prefix_count++] = range;
	}
	bool v6 = (units.addr_count && units.addrs[0].family == IP_V6) ||
		  (units.prefix_count && units.prefixes[0].addr.family == IP_V6);

	if (aws_nic_unassign(model, nic, v6 ? IP_V6 : IP_V4, &units, clock_now(&clock_boot), &refused) < 0)
		return err_set(err, ERR_CONFLICT, DOMAIN, "%s: %s", refused.code, refused.message);
	return 0;
}

/* At once, and whatever it is but a primary: what it takes to be somebody who may do everything. */
static int remove_nic(struct aws_model *model, struct aws_nic *nic, struct err *err)
{
	int64_t now_us = clock_now(&clock_boot), detach_ms = model->timings.detach_ms;
	struct ec2_err refused;
	int rc = 0;

	nic->managed = false;
	nic->operator_[0] = '\0';
	model->timings.detach_ms = 0;
	if (nic->face.status == AWS_NIC_DETACHING)
		nic->face.status = AWS_NIC_IN_USE;
	if (nic->face.instance)
		rc = aws_nic_detach(model, nic, now_us, &refused);
	model->timings.detach_ms = detach_ms;
	if (rc == 0)
		rc = aws_nic_delete(model, nic, now_us, &refused);
	return rc < 0 ? err_set(err, ERR_CONFLICT, DOMAIN, "%s: %s", refused.code, refused.message) : 0;
}

static int do_remove(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err)
{
	json_t *units = NULL;
	const char *id;

	(void)ret;
	if (json_get_str(body, DOMAIN, "nic", &id, err) < 0 || json_get_arr_opt(body, DOMAIN, "units", &units, err) < 0)
		return -1;
	struct aws_nic *nic = aws_nic_find(mock->model, id);

	if (!nic)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "no NIC %s", id);
	return units ? remove_units(mock->model, nic, units, err) : remove_nic(mock->model, nic, err);
}

static const struct {
	const char *path;
	int (*run)(struct aws_mock *mock, const json_t *body, json_t **ret, struct err *err);
} commands[] = {
	{ "fault", do_fault },
	{ "faults/clear", do_faults_clear },
	{ "state", do_state },
	{ "calls", do_calls },
	{ "foreign", do_foreign },
	{ "remove", do_remove },
	{ "throttle", do_throttle },
	{ "timings", do_timings },
	{ "credentials", do_credentials },
	{ "web_identity", do_web_identity },
	{ "agent", do_agent },
};

static int run(struct aws_mock *mock, const char *path, const char *text, size_t size, json_t **ret, struct err *err)
{
	json_t *body = NULL;
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!str_equal(commands[i].path, path))
			continue;
		if (!size)
			body = json_object();
		else if (json_parse(text, size, DOMAIN, &body, err) < 0)
			return -1;
		rc = commands[i].run(mock, body, ret, err);
		json_decref(body);
		return rc;
	}
	return err_set(err, ERR_NOTFOUND, DOMAIN, "no such call: %s", path);
}

void aws_control(struct aws_mock *mock, const char *path, const char *body, size_t size, struct httpd_reply *reply)
{
	json_t *answer = NULL;
	struct err err = { 0 };

	if (run(mock, path, body, size, &answer, &err) < 0) {
		reply->status = err.class == ERR_NOTFOUND ? 404 : 400;
		answer = json_pack("{s:s}", "error", err.msg);
	}
	if (!answer)
		answer = json_object();
	_cleanup_free_ char *text = json_print(answer);

	strbuf_add(&reply->body, text ? text : "{}");
	httpd_reply_header(reply, "Content-Type", "application/json");
	json_decref(answer);
}
