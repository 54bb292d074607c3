import pytest
from tests.architecture import site
from tests import factories as make
@pytest.mark.django_db
def test_probe(client, fixed_today):
    site.company()
    from django.test import Client
    cs=[]
    for r in (None,"viewer","operator","approver","admin"):
        c=Client(raise_request_exception=False)
        if r: c.force_login(make.user(r))
        cs.append(c)
    for t in site.targets():
        codes=[]
        for c in cs:
            resp=c.get(t.url); codes.append(str(resp.status_code)+("L" if resp.status_code==302 and "login" in resp["Location"] else ""))
        print(t.name, t.url, *codes)
