"""Orders can set trigger dates."""

from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_billing_rules'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='orderaction',
            name='order_action_known',
        ),
        migrations.AlterField(
            model_name='orderaction',
            name='kind',
            field=models.CharField(choices=[('CreateSubscription', 'Create subscription'), ('TermsAndConditions', 'Change terms and conditions'), ('AddProduct', 'Add product'), ('UpdateProduct', 'Update product'), ('RemoveProduct', 'Remove product'), ('RenewSubscription', 'Renew subscription'), ('CancelSubscription', 'Cancel subscription'), ('Suspend', 'Suspend'), ('Resume', 'Resume'), ('SetTriggerDates', 'Set trigger dates')], max_length=24),
        ),
        migrations.AddConstraint(
            model_name='orderaction',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['CreateSubscription', 'TermsAndConditions', 'AddProduct', 'UpdateProduct', 'RemoveProduct', 'RenewSubscription', 'CancelSubscription', 'Suspend', 'Resume', 'SetTriggerDates']), models.Q(('delta_mrr__range', (Decimal('-1000000000000'), Decimal('1000000000000'))), ('delta_mrr__isnull', True), _connector='OR')), name='order_action_known'),
        ),
    ]
